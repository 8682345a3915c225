"""Whose fault an error of MongoDB is. Pure.

Source: MongoDB's `src/mongo/base/error_codes.yml` (6.0 to 9.0). The lists, with `DEPENDENCY_CODES`, have the codes that
a write to a copy can give, also through what operators add to its collection: indexes, validators, a shard key. Codes
with no list, among them the five-digit ones that the server's source gives to single places, are `Fault.UNKNOWN`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bson.errors import BSONError
from pymongo.errors import BulkWriteError, DocumentTooLarge, OperationFailure

from service_kit.mongodb_errors import DEPENDENCY_CODES
from sync_service.sinks.base import Rejected, Unavailable
from sync_service.sinks.errors import Fault, failure

# The content of a document, or the size of the request, which is smaller for fewer documents.
ROW_CODES = frozenset(
    {
        2,  # BadValue
        9,  # FailedToParse
        10,  # CannotMutateObject
        14,  # TypeMismatch
        15,  # Overflow
        16,  # InvalidLength
        21,  # EmptyArrayOperation
        22,  # InvalidBSON
        28,  # PathNotViable
        29,  # NonExistentPath
        30,  # InvalidPath
        40,  # ConflictingUpdateOperators
        52,  # DollarPrefixedFieldName
        53,  # InvalidIdField
        54,  # NotSingleValueField
        55,  # InvalidDBRef
        56,  # EmptyFieldName
        57,  # DottedFieldName
        61,  # ShardKeyNotFound
        66,  # ImmutableField
        111,  # NotExactValueField
        116,  # DocTooLargeForCapped
        121,  # DocumentValidationFailure
        159,  # DurationOverflow
        171,  # CannotIndexParallelArrays
        201,  # CannotBuildIndexKeys
        207,  # InvalidUUID
        241,  # ConversionFailure
        257,  # TransactionTooLarge
        283,  # WouldChangeOwningShard
        357,  # InvalidBSONType
        366,  # WouldChangeOwningShardDeletedNoDocument
        378,  # NonConformantBSON
        386,  # DuplicateKeyId
        388,  # TransactionTooLargeForCache
        10003,  # CannotGrowDocumentInCappedNamespace
        10334,  # BSONObjectTooLarge
        11000,  # DuplicateKey, of a unique index that an operator has added
        17280,  # KeyTooLong
        17419,  # resulting document after update is too large
        17420,  # document to upsert is too large
    }
)

# The route's collection, its rights, or the command: every document would fail.
ROUTE_CODES = frozenset(
    {
        13,  # Unauthorized
        20,  # IllegalOperation
        26,  # NamespaceNotFound
        27,  # IndexNotFound
        48,  # NamespaceExists
        59,  # CommandNotFound
        67,  # CannotCreateIndex
        68,  # IndexAlreadyExists
        72,  # InvalidOptions
        73,  # InvalidNamespace
        85,  # IndexOptionsConflict
        86,  # IndexKeySpecsConflict
        115,  # CommandNotSupported
        118,  # NamespaceNotSharded
        161,  # IncompatibleCollationVersion
        165,  # ViewDepthLimitExceeded
        166,  # CommandNotSupportedOnView
        167,  # OptionNotSupportedOnView
        168,  # InvalidPipelineOperator
        169,  # CommandOnShardedViewNotSupportedOnMongod
        182,  # InvalidViewDefinition
        195,  # ViewPipelineMaxSizeExceeded
        197,  # InvalidIndexSpecificationOption
        224,  # QueryFeatureNotAllowed
        227,  # CannotImplicitlyCreateCollection
        235,  # InternalErrorNotSupported
        238,  # NotImplemented
        242,  # CannotCreateCollection
        263,  # OperationNotSupportedInTransaction
        322,  # APIVersionError
        323,  # APIStrictError
        324,  # APIDeprecationError
        347,  # APIMismatchError
        359,  # CannotConvertIndexToUnique
        361,  # CollectionUUIDMismatch
        411,  # QueryRejectedBySettings
        13297,  # DatabaseDifferCase
        28769,  # NamespaceCannotBeSharded
        40413,  # IDLDuplicateField
        40414,  # IDLFailedToParse
        40415,  # IDLUnknownField
    }
)

DUPLICATE_KEY = 11000
# The worst decides about a bulk: what blocks it is retried or stops the route, and only then single rows are to blame.
_WORST_FIRST = (Fault.DEPENDENCY, Fault.ROUTE, Fault.UNKNOWN, Fault.ROW)


def fault_of(code: int) -> Fault:
    if code in ROW_CODES:
        return Fault.ROW
    if code in ROUTE_CODES:
        return Fault.ROUTE
    return Fault.DEPENDENCY if code in DEPENDENCY_CODES else Fault.UNKNOWN


def exists_already(error: Mapping[str, Any]) -> bool:
    """Does the document itself exist, and not another one with the same value in a unique index?"""
    return error["code"] == DUPLICATE_KEY and error.get("keyPattern") == {"_id": 1}


def existing_documents(details: Mapping[str, Any]) -> Sequence[int] | None:
    """The indexes of the inserts that failed because their documents exist; None if anything else has failed.

    After a failed write concern none of the writes is certain, whatever the errors of single ones are.
    """
    failures = details.get("writeErrors", [])
    if details.get("writeConcernErrors") or not failures or not all(map(exists_already, failures)):
        return None
    return [failure["index"] for failure in failures]


def translated(error: Exception, *, of_row: bool = True) -> Rejected | Unavailable:
    """The exception of the sink for an error of the driver. Without a row to blame (`of_row`), it is the route's."""
    if isinstance(error, BulkWriteError):
        return _of_bulk(error)
    if isinstance(error, BSONError | DocumentTooLarge | OverflowError | UnicodeError):
        return Rejected(f"{type(error).__name__}: {without_values(str(error))}")
    if isinstance(error, OperationFailure) and error.code is not None:
        reason = str((error.details or {}).get("errmsg", error))
        return failure(fault_of(error.code), "MongoDB", f"{error.code}: {without_values(reason)}", of_row=of_row)
    return Unavailable(f"MongoDB: {type(error).__name__}: {without_values(str(error))}")


def _of_bulk(error: BulkWriteError) -> Rejected | Unavailable:
    """Other documents of the bulk may have been written. Writing them again changes nothing."""
    if uncertain := error.details.get("writeConcernErrors"):
        return Unavailable(f"MongoDB: {_of_write(uncertain[0])}")
    errors = [each for each in error.details.get("writeErrors", []) if not exists_already(each)]
    if not errors:
        return Unavailable(f"MongoDB: {type(error).__name__}: documents exist already")
    worst = min(errors, key=lambda each: _WORST_FIRST.index(fault_of(each["code"])))
    return failure(fault_of(worst["code"]), "MongoDB", _of_write(worst))


def _of_write(error: Mapping[str, Any]) -> str:
    return f"{error.get('code')}: {without_values(str(error.get('errmsg', '')))}"


def without_values(message: str) -> str:
    """The message up to the first document or value of a row: reasons are logged, and values may be personal.

    That also leaves out the state of every server, which the driver adds. (`Tree:` begins the filter of a query.)
    """
    return re.split(r"[{(]|encode object:|Tree:|, full error", message, maxsplit=1)[0].rstrip(" :,")[:1000]
