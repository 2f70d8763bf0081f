//! The example policies of the three issuer families, with their tests: what dev mode shows to whoever has none yet.

/// Every file with its text.
pub const FILES: [(&str, &str); 6] = [
    ("kusy-customers.yaml", include_str!("../../policies/kusy-customers.yaml")),
    ("kusy-customers.test.yaml", include_str!("../../policies/kusy-customers.test.yaml")),
    ("organizations.yaml", include_str!("../../policies/organizations.yaml")),
    ("organizations.test.yaml", include_str!("../../policies/organizations.test.yaml")),
    ("ameise.yaml", include_str!("../../policies/ameise.yaml")),
    ("ameise.test.yaml", include_str!("../../policies/ameise.test.yaml")),
];
