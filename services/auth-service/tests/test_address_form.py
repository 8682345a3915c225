"""The one form of an email address: pure rules. Accounts with look-alike addresses: `attacks/test_lookalikes.py`."""

import pytest
from pydantic import TypeAdapter, ValidationError

from auth_service.users.addresses import canonical_address, fold_address
from auth_service.users.schemas import Email

# From here on no character has another form.
_UNASSIGNED = 0x30000
_email = TypeAdapter[str](Email)


@pytest.mark.parametrize(
    ("typed", "form"),
    [
        ("ada@example.com", "ada@example.com"),
        (" Ada.Lovelace@EXAMPLE.com ", "ada.lovelace@example.com"),
        ("Ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ada@example.com"),
        ("ﬁona@example.com", "fiona@example.com"),
        ("jose\u0301@example.com", "jos\u00e9@example.com"),
        ("JOSÉ@EXÁMPLE.COM", "jos\u00e9@ex\u00e1mple.com"),
        ("ada@xn--exmple-qta.com", "ada@ex\u00e1mple.com"),
        ("Straße@Straße.de", "straße@straße.de"),
        ("STRASSE@STRASSE.de", "strasse@strasse.de"),
        ("bo\u0337b@example.net", "bo\u0337b@example.net"),
        ("bob\ufe0f@example.net", "bob\ufe0f@example.net"),
        ("İ@example.com", "i\u0307@example.com"),
        ("ΑΣ@ΑΣ.gr", "ας@ασ.gr"),
    ],
)
def test_address_has_one_form(typed: str, form: str) -> None:
    assert (canonical_address(typed), _email.validate_python(typed)) == (form, form)
    assert canonical_address(form) == form


@pytest.mark.parametrize("typed", ["", "ada", "a@b@c", "¨@example.com", "ada@", "@example.com", 'x"@example.com'])
def test_text_that_is_no_address_has_a_form_that_no_account_has(typed: str) -> None:
    assert canonical_address(canonical_address(typed)) == canonical_address(typed)
    with pytest.raises(ValidationError):
        _email.validate_python(typed)


def test_form_of_each_character_is_stable() -> None:
    """Otherwise an address that was stored would not be found by its own text."""
    folded = {fold_address(f"a{each}b@x") for each in map(chr, range(_UNASSIGNED))}
    assert [each for each in folded if fold_address(each) != each] == []
