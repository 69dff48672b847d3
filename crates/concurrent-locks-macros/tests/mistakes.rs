//! What the compiler says of wrong attributes, and where.

#[test]
fn mistakes_are_reported_where_they_are() {
    trybuild::TestCases::new().compile_fail("tests/mistakes/*.rs");
}
