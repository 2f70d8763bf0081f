use super::*;

#[test]
fn what_is_wrong_with_a_signed_answer_is_said() {
    assert_eq!((is_valid(Verdict::Valid), is_valid(Verdict::UnknownKey)), (Ok(true), Ok(false)));
    let said = is_valid(Verdict::Invalid(Fault::Signature)).unwrap_err();
    assert_eq!(said, "the signed answer does not hold: the signature is not the issuer's");
}
