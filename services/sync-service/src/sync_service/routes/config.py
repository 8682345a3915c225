"""A route, as `routes.yaml` declares it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PrivateAttr,
    StringConstraints,
    ValidationInfo,
    model_validator,
)

from sync_service.routes.computed_mapping import BoundExpression, ComputedField, ComputedMapping
from sync_service.routes.converters import (
    CONVERSION_FAILURES,
    CONVERSIONS,
    MAXIMUM_PRECISION,
    MAXIMUM_SCALE,
    Conversion,
    FieldType,
    convert,
    limited_decimal,
    unfit_value,
)
from sync_service.routes.declaration import Declaration, Name, TopicName
from sync_service.routes.expressions import Expression
from sync_service.routes.protection import HASH_LENGTH, Mask, hashing, protected
from sync_service.routes.row_mapping import MappedField, RowMapping
from sync_service.sinks.target import Target
from sync_service.sinks.targets import AnyTarget, Store

_LONGEST_KEY_CONSTANT = 100

# What readers of a copy that keeps deleted rows see beside the fields: the time of the delete, null for a live row.
DELETED_AT = "deleted_at"

# What a default may be, whatever the store of the copy.
_DEFAULTS: Mapping[FieldType, Conversion] = {"decimal": limited_decimal(MAXIMUM_PRECISION, MAXIMUM_SCALE)}


def _steps(path: Any) -> Any:
    return path.split(".") if isinstance(path, str) else path


# The path of a field in the source: `user.address.city`, or a list, whose names may contain dots.
Path = Annotated[
    tuple[Annotated[str, StringConstraints(min_length=1)], ...], BeforeValidator(_steps), Field(min_length=1)
]


# Parsed once, when the routes are loaded.
ParsedExpression = Annotated[
    Expression,
    BeforeValidator(lambda text: Expression(text) if isinstance(text, str) else text),
    PlainSerializer(lambda expression: expression.text, return_type=str),
]


class CopiedField(Declaration):
    """A field of the copy: from the `path` in the source (None: the same name), a `constant`, or computed by `expr`.

    `default` replaces a missing or null value. Without one, a row of MySQL that lacks the column is refused. `length`,
    `precision` and `scale` are those of the table's column. `zero_dates` is false if the source's column contains none,
    so that 1970-01-01 is no zero date. `personal`: only callers who may read users see the value (`routes.personal`).
    The copy has the `hash` of a text, or the text with a `mask`; its value in the source is personal then.
    """

    path: Path | None = Field(default=None, alias="from")
    type: FieldType = "json"
    constant: Any = None
    expr: ParsedExpression | None = None
    default: Any = None
    length: int | None = Field(default=None, ge=1, le=16383)
    precision: int | None = Field(default=None, ge=1, le=MAXIMUM_PRECISION)
    scale: int | None = Field(default=None, ge=0, le=MAXIMUM_SCALE)
    zero_dates: bool = True
    personal: bool = False
    hash: bool = False
    mask: Mask | None = None
    # `SYNC_HASH_SECRET`.
    _secret: str = PrivateAttr(default="")

    @model_validator(mode="after")
    def _constant_or_copied(self) -> "CopiedField":
        if self.is_constant == ("type" in self.model_fields_set):
            raise ValueError("a field has either a type (and perhaps from or expr) or a constant")
        if self.is_constant:
            if self.model_fields_set != {"constant"}:
                raise ValueError("a constant has nothing beside it")
            _refuse_what_is_no_json(self.constant)
        if self.expr is not None and self.path is not None:
            raise ValueError("a field has either from or expr")
        return self

    @model_validator(mode="after")
    def _fitting_options(self) -> "CopiedField":
        if self.length is not None and self.type not in ("string", "binary"):
            raise ValueError("length is for string and binary")
        if (self.precision is None) != (self.scale is None):
            raise ValueError("precision and scale go together")
        if self.precision is not None and self.scale is not None:
            if self.type != "decimal":
                raise ValueError("precision and scale are for decimal")
            if self.scale > self.precision:
                raise ValueError("scale is more than precision")
        if not self.zero_dates and self.type not in ("date", "datetime"):
            raise ValueError("zero_dates is for date and datetime")
        if self.default is not None:
            try:
                self._conversion(_DEFAULTS).convert(self.default)
            except CONVERSION_FAILURES as error:
                raise ValueError(f"default: {unfit_value(self.default, self.type, error)}") from error
        return self

    @model_validator(mode="after")
    def _fitting_protection(self, info: ValidationInfo) -> "CopiedField":
        if not self.is_protected:
            return self
        if self.hash and self.mask is not None:
            raise ValueError("a field has either hash or mask")
        if self.type not in ("string", "text"):
            raise ValueError(f"{'hash' if self.hash else 'mask'} is for string and text")
        if self.hash:
            if self.length is not None and self.length < HASH_LENGTH:
                raise ValueError(f"a hash has {HASH_LENGTH} characters, so length can't be {self.length}")
            context = info.context or {}
            self._secret = context.get("hash_secret") or ""
            if context.get("needs_secret") and not self._secret:
                raise ValueError("hash needs the setting SYNC_HASH_SECRET")
        return self

    @property
    def is_protected(self) -> bool:
        """Does the copy have the hash of the value, or the value with a mask?"""
        return self.hash or self.mask is not None

    @property
    def is_constant(self) -> bool:
        return "constant" in self.model_fields_set

    @property
    def has_path(self) -> bool:
        """Does its value stand in the source?"""
        return not self.is_constant and self.expr is None

    def _conversion(self, conversions: Mapping[FieldType, Conversion]) -> Conversion:
        """One of `conversions`, which are those that a store has of its own, or the one of all stores."""
        if self.precision is not None and self.scale is not None:
            return limited_decimal(self.precision, self.scale)
        return conversions.get(self.type) or CONVERSIONS[self.type]

    def _readable_conversion(self, target: Target) -> Conversion:
        """The conversion without hash and mask."""
        if self.zero_dates:
            return self._conversion(target.conversions)
        return self._conversion(target.conversions_without_zero_dates)

    def _conversion_for(self, target: Target) -> Conversion:
        conversion = self._readable_conversion(target)
        if self.hash:
            return protected(conversion, hashing(self._secret))
        return conversion if self.mask is None else protected(conversion, self.mask)

    def source_path(self, name: str) -> Path:
        """The path in the source of the field that the copy calls `name`."""
        return self.path or (name,)

    def mapped(self, name: str, target: Target, *, is_variable: bool = False) -> MappedField:
        """The field, compiled for mapping, as `name` of the copy or as a variable of expressions.

        Expressions see the value without hash and mask.
        """
        if self.is_constant:
            return MappedField(name, absent=self.constant)
        absent = None if self.default is None else convert(self.default, self.type)
        if self.expr is not None:
            return MappedField(name, absent=absent)
        # A default, `default: null` as well, says that the column may be missing.
        must_exist = target.source_rows_are_complete and "default" not in self.model_fields_set
        conversion = self._readable_conversion(target) if is_variable else self._conversion_for(target)
        return MappedField(name, self.source_path(name), conversion, absent, must_exist)

    def computed(self, name: str, target: Target, values: Callable[[Expression], RowMapping]) -> ComputedField | None:
        """None if the field is not computed. `values` maps what an expression needs."""
        if self.expr is None:
            return None
        return ComputedField(name, BoundExpression(self.expr, values(self.expr)), self._conversion_for(target))

    def mapped_key(self, name: str, target: Target) -> MappedField:
        """The field as a part of the key, in which different values must stay different."""
        if self.is_constant:
            return MappedField(name, absent=self.constant)
        return MappedField(name, self.source_path(name), target.exact(self._conversion_for(target)))


def _refuse_what_is_no_json(value: Any) -> None:
    """YAML also has dates and sets, which not every store accepts."""
    match value:
        case None | bool() | int() | float() | str():
            return
        case list():
            for item in value:
                _refuse_what_is_no_json(item)
        case dict():
            if not all(isinstance(name, str) for name in value):
                raise ValueError("a name in a constant is a string")
            _refuse_what_is_no_json(list(value.values()))
        case _:
            raise ValueError(f"a constant can't be a {type(value).__name__}: put it in quotes")


# `name: string` is short for `name: {type: string}`.
FieldDeclaration = Annotated[
    CopiedField, BeforeValidator(lambda value: {"type": value} if isinstance(value, str) else value)
]


class DroppedField(Declaration):
    """A field of the source that is not copied on purpose.

    A `personal` one is not needed at all: the connector leaves it out of its events.
    """

    path: Path = Field(alias="from")
    personal: bool = False


# `email` is short for `{from: email}`.
DropDeclaration = Annotated[
    DroppedField, BeforeValidator(lambda value: {"from": value} if isinstance(value, str | list) else value)
]


class Route(Declaration):
    """One topic and its copy."""

    name: str
    topic: TopicName
    target: AnyTarget
    key: Mapping[Name, FieldDeclaration] = Field(min_length=1)
    fields: Mapping[Name, FieldDeclaration]
    inputs: Mapping[Name, FieldDeclaration] = Field(default={})
    where: ParsedExpression | None = None
    drop: tuple[DropDeclaration, ...] = ()
    indexes: list[list[Name]] = Field(default=[])
    tombstones: Literal["purge", "keep"] = "purge"
    deletes: Literal["tombstone", "keep-row"] = "tombstone"
    on_new_field: Literal["alert", "ignore"] = "alert"

    @model_validator(mode="after")
    def _consistent_key(self) -> "Route":
        if all(field.is_constant for field in self.key.values()):
            raise ValueError("a constant can't tell rows apart, so it is no key")
        if computed := [name for name, field in self.key.items() if field.expr is not None]:
            raise ValueError(f"{computed[0]}: a key is not computed: an event has only the key's own fields")
        if hidden := [name for name, field in self.key.items() if field.is_protected]:
            raise ValueError(f"{hidden[0]}: hash and mask are not for a key, because rows are found by it")
        if any(field.default is not None for field in self.key.values()):
            raise ValueError("a key has no default: rows that lack it would be taken for one")
        for name, field in self.key.items():
            if field.type in ("json", "json_text") and not field.is_constant:
                raise ValueError(f"{name}: {field.type} is no type of a key: use a field of the document, by from")
            if (refused := self.target.refused_keys.get(field.type)) is not None:
                raise ValueError(f"{name}: {refused}")
            if field.type == "text":
                raise ValueError(f"{name}: text is no type of a key, which has a limited length: use string")
        self.target.check_key(self.key)
        return self

    @model_validator(mode="after")
    def _consistent_key_constants(self) -> "Route":
        for name, constant in self.key_constants.items():
            if type(constant) not in (str, int) or len(str(constant)) > _LONGEST_KEY_CONSTANT:
                raise ValueError(f"{name}: a constant part of a key is an integer or a short text")
        return self

    @model_validator(mode="after")
    def _consistent_fields(self) -> "Route":
        if twice := self.key.keys() & self.fields.keys():
            raise ValueError(f"both key and field: {', '.join(sorted(twice))}")
        self.target.check_fields(self.fields, self.indexes)
        if reserved := [name for name in (*self.key, *self.fields) if name.startswith(("sync_", "_sync"))]:
            raise ValueError(f"names that start with sync_ are the sync's own: {', '.join(reserved)}")
        if self.keeps_rows and (taken := {DELETED_AT} & {name.lower() for name in (*self.key, *self.fields)}):
            raise ValueError(
                f"{taken.pop()} is the time of the delete with deletes: keep-row, so no field has this name"
            )
        exempt = [name for name, field in {**self.key, **self.fields}.items() if not field.zero_dates]
        if exempt and not self.target.conversions_without_zero_dates:
            raise ValueError(f"{', '.join(exempt)}: zero_dates is for rows of MySQL")
        inputs = {field.source_path(name): name for name, field in self.inputs.items()}
        for path in self.excluded:
            if path in inputs:
                raise ValueError(f"{'.'.join(path)} is dropped as personal, so it can't be the input {inputs[path]}")
            holders = [name for name, copied in self.read_paths.items() if path[: len(copied)] == copied != path]
            if holders:
                raise ValueError(
                    f"{'.'.join(path)} is dropped as personal, so events lack it, but {holders[0]} copies all of "
                    f"{'.'.join(self.read_paths[holders[0]])}: mark {holders[0]} as personal, or copy its parts"
                )
        if both := set(self.source_paths.values()) & set(self.dropped):
            raise ValueError(f"both copied and dropped: {', '.join('.'.join(path) for path in sorted(both))}")
        return self

    @model_validator(mode="after")
    def _consistent_expressions(self) -> "Route":
        if twice := self.inputs.keys() & {*self.key, *self.fields}:
            raise ValueError(f"both input and copied: {', '.join(sorted(twice))}")
        for name, field in self.inputs.items():
            if not field.has_path:
                raise ValueError(f"inputs.{name}: an input is a field of the source")
            if field.is_protected:
                raise ValueError(f"inputs.{name}: hash and mask are for copied fields")
        known = {name: field for name, field in {**self.key, **self.fields, **self.inputs}.items() if not field.expr}
        used: set[str] = set()
        for place, expression in self.expressions.items():
            used.update(expression.names)
            if taken := known.keys() & expression.loop_variables:
                raise ValueError(f"{place}: {taken.pop()} is a field, so name the variable of the loop in another way")
            if unknown := [name for name in expression.names if name not in known]:
                computed = [name for name in unknown if name in self.fields]
                raise ValueError(
                    f"{place}: {computed[0]} is computed itself" if computed else
                    f"{place}: {unknown[0]} is no field under key, fields or inputs"
                )  # fmt: skip
        if unused := sorted(self.inputs.keys() - used):
            raise ValueError(f"inputs.{unused[0]}: no expression uses it")
        return self

    @property
    def key_constants(self) -> Mapping[Name, Any]:
        """The constant parts of the key: the rows of this route in a copy that several routes share."""
        return {name: field.constant for name, field in self.key.items() if field.is_constant}

    @property
    def key_paths(self) -> Mapping[Name, Path]:
        """The paths in the source of the other parts of the key."""
        return {name: field.source_path(name) for name, field in self.key.items() if field.has_path}

    def key_from_source(self, key: Sequence[Any]) -> Sequence[Any]:
        """The parts of a key of the copy that come from the source, in the order of `key_paths`."""
        parts = key[0] if self.is_keyed_by_document else dict(zip(self.key, key, strict=True))
        return [parts[name] for name in self.key_paths]

    @property
    def expressions(self) -> Mapping[str, Expression]:
        """By their places in the declaration."""
        computed = {f"fields.{name}": field.expr for name, field in self.fields.items()}
        return {place: each for place, each in {"where": self.where, **computed}.items() if each is not None}

    @property
    def keeps_rows(self) -> bool:
        """Do the values of a deleted row stay in the copy?"""
        return self.deletes == "keep-row"

    @property
    def source_paths(self) -> Mapping[Name, Path]:
        """The paths in the source by the names in the copy, those of the key first. Constants have none."""
        declared = {**self.key, **self.fields}
        return {name: field.source_path(name) for name, field in declared.items() if field.has_path}

    @property
    def read_paths(self) -> Mapping[Name, Path]:
        """The paths in the source of all that is read: what is copied, and inputs of expressions."""
        return {**self.source_paths, **{name: field.source_path(name) for name, field in self.inputs.items()}}

    @property
    def dropped(self) -> Collection[Path]:
        """The paths in the source that are not copied on purpose."""
        return [field.path for field in self.drop]

    @property
    def excluded(self) -> Sequence[Path]:
        """The paths in the source that the connector must leave out of its events."""
        return [field.path for field in self.drop if field.personal]

    @property
    def excluded_names(self) -> Sequence[str]:
        """The names of excluded fields in a copy that an earlier route has made, unless it had renamed them."""
        return sorted({path[-1] for path in self.excluded} - {*self.key, *self.fields})

    @property
    def personal_paths(self) -> Collection[Path]:
        """The paths in the source with personal data, copied or not."""
        declared = {**self.key, **self.fields, **self.inputs}
        marked = {name: field for name, field in declared.items() if field.has_path}
        personal = {name: field for name, field in marked.items() if field.personal or field.is_protected}
        return {*self.excluded, *(field.source_path(name) for name, field in personal.items())}

    @property
    def source(self) -> tuple[str, str] | None:
        """Schema and table, or database and collection: the last two segments of the topic. None if it has fewer."""
        *_, database, name = ["", *self.topic.split(".")]
        return (database, name) if database else None

    def reads(self, store: Store, database: str) -> bool:
        """Does its connector read this database? Names that differ only in case can't exist beside each other."""
        return self.source is not None and self.source_store == store and self.source[0].lower() == database.lower()

    @property
    def source_store(self) -> Store:
        """The store that the rows come from."""
        return self.target.source_store

    @cached_property
    def key_mapping(self) -> RowMapping:
        return RowMapping([field.mapped_key(name, self.target) for name, field in self.key.items()])

    @cached_property
    def key_columns(self) -> AbstractSet[str]:
        """The fields of the source's key that the key takes something from."""
        return {path[0] for path in self.key_paths.values()}

    @cached_property
    def fields_mapping(self) -> RowMapping | ComputedMapping:
        """Without expressions, a plain mapping: they cost nothing where they are not used."""
        copied = RowMapping([field.mapped(name, self.target) for name, field in self.fields.items()])
        if not self.expressions:
            return copied
        computed = [field.computed(name, self.target, self._values_for) for name, field in self.fields.items()]
        where = None if self.where is None else BoundExpression(self.where, self._values_for(self.where))
        return ComputedMapping(copied, [field for field in computed if field is not None], where)

    def _values_for(self, expression: Expression) -> RowMapping:
        declared = {**self.key, **self.fields, **self.inputs}
        return RowMapping([declared[name].mapped(name, self.target, is_variable=True) for name in expression.names])

    @cached_property
    def is_keyed_by_document(self) -> bool:
        """Is the key of several fields one document, the `_id`?"""
        return self.target.has_document_keys and len(self.key) > 1
