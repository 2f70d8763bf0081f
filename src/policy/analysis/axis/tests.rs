use super::*;

#[test]
fn every_axis_is_a_part_of_the_request_of_the_token_or_of_the_connection() {
    let name = || Box::<str>::from("x");
    let kinds = [
        (CertificateName::Dns, Kind::Dns),
        (CertificateName::Uri, Kind::Uri),
        (CertificateName::Email, Kind::Email),
        (CertificateName::Subject, Kind::Subject),
    ];
    assert!(kinds.into_iter().all(|(name, kind)| Kind::from(name) == kind));
    let routed = [Axis::Label, Axis::Segment(3), Axis::Tail];
    let head = [Axis::Query(name()), Axis::Header(name())];
    let body = [Axis::Form(name()), Axis::Body(name()), Axis::Operation];
    let token = [
        Axis::Issuer,
        Axis::Flow,
        Axis::Global,
        Axis::Subject,
        Axis::Client,
        Axis::Acr,
        Axis::Age,
        Axis::Scope(name()),
        Axis::Permissions,
        Axis::Permission(name()),
        Axis::Organizations,
        Axis::Organization(name()),
        Axis::Claim(ClaimPath::top("x")),
    ];
    let connection = [Axis::Address, Axis::Certificate, Axis::Names(Kind::Dns)];
    let parts = [
        (&routed[..], [true, true, false, false]),
        (&head[..], [false, true, false, false]),
        (&body[..], [false, true, true, false]),
        (&token[..], [false, false, false, true]),
        (&connection[..], [false; 4]),
    ];
    for (axes, expected) in parts {
        for axis in axes {
            let is = [axis.is_routed(), axis.is_request(), axis.is_body(), axis.is_token()];
            assert_eq!(is, expected, "{axis:?}");
        }
    }
}

#[test]
fn every_combination_of_marks_is_visited_once() {
    let mut space = Space::default();
    let sizes = [(Axis::Label, 2), (Axis::Tail, 3), (Axis::Flow, 1), (Axis::Acr, 0)];
    for (axis, size) in &sizes {
        space.axes.insert(axis.clone(), (0..*size).map(|number| Mark::Age(Some(number))).collect());
    }
    let visited = |axes: &[&Axis]| {
        let mut visited = Vec::new();
        space.each(axes, |at| visited.push(at.to_vec()));
        assert_eq!(space.combinations(axes), visited.len());
        visited
    };
    let all = visited(&[&Axis::Label, &Axis::Tail, &Axis::Flow]);
    assert_eq!(all, [[0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 2, 0], [1, 2, 0]]);
    assert_eq!(visited(&[]), [[0; 0]]);
    assert!(visited(&[&Axis::Label, &Axis::Acr]).is_empty());
    assert!(visited(&[&Axis::Issuer]).is_empty(), "nothing depends on it");
    assert_eq!(space.marks(&Axis::Label), [Mark::Age(Some(0)), Mark::Age(Some(1))]);
}
