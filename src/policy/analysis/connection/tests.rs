use super::*;

#[test]
fn every_set_of_a_few_names_is_tried_and_every_one_of_many() {
    let names = |count: usize| (1..=count).map(|number| format!("n{number}")).collect::<BTreeSet<_>>();
    let sets = |count: usize, gaps: &mut Vec<String>| -> BTreeSet<BTreeSet<String>> {
        let marks = certificate_names(Kind::Dns, &names(count), gaps);
        let set = |mark| if let Mark::Names(names) = mark { names.into_iter().collect() } else { panic!("{mark:?}") };
        marks.into_iter().map(set).collect()
    };
    let mut gaps = Vec::new();
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let one = BTreeSet::from([set(&[]), set(&["n1"]), set(&["another.example"]), set(&["n1", "another.example"])]);
    assert_eq!(sets(1, &mut gaps), one);
    assert_eq!(sets(5, &mut gaps).len(), 64);
    assert!(gaps.is_empty());
    let many = sets(7, &mut gaps);
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert!(names(7).into_iter().all(|name| many.contains(&BTreeSet::from([name]))));
}

#[test]
fn a_certificate_has_one_subject() {
    let mut gaps = Vec::new();
    let names = (1..9).map(|number| format!("CN=n{number}")).collect::<BTreeSet<_>>();
    let marks = certificate_names(Kind::Subject, &names, &mut gaps);
    let one = |mark: &Mark| matches!(mark, Mark::Names(names) if names.len() == 1);
    assert!(marks.len() == 9 && marks.iter().all(one) && gaps.is_empty(), "{marks:?}");
}

#[test]
fn networks_are_told_apart_inside_and_outside() {
    let lists = [
        "10.0.0.0/8, 10.1.0.0/16, 10.1.255.255/32",
        "::/0, 192.0.0.0/16",
        "::/0, 0.0.0.0/1",
        "::/0, 128.0.0.0/1, 128.0.0.0/2",
        "0.0.0.0/0, 2001:db8::/32, 2001:db8:0:1::/64",
        "0.0.0.0/0, 2001::/16",
        "0.0.0.0/0, 8000::/1",
        "0.0.0.0/0, ::/1",
        "0.0.0.0/0, ::/0",
        "192.0.2.1/32, 192.0.2.0/31",
        "",
    ];
    for list in lists {
        let networks: Vec<IpNet> = list.split(", ").filter_map(|network| network.parse().ok()).collect();
        let signs = |address: &IpAddr| networks.iter().map(|network| network.contains(address)).collect::<Vec<_>>();
        let marks = addresses(&networks);
        assert!(marks.contains(&Mark::Address(None)));
        let told: BTreeSet<Vec<bool>> = marks
            .iter()
            .filter_map(|mark| if let Mark::Address(Some(address)) = mark { Some(signs(address)) } else { None })
            .collect();
        let mut every: Vec<IpAddr> = Vec::new();
        for network in &networks {
            for end in [network.network(), network.broadcast()] {
                every.extend(match end {
                    IpAddr::V4(end) => [-1, 0, 1].map(|by| IpAddr::V4(u32::from(end).wrapping_add_signed(by).into())),
                    IpAddr::V6(end) => [-1, 0, 1].map(|by| IpAddr::V6(u128::from(end).wrapping_add_signed(by).into())),
                });
            }
        }
        for address in every {
            assert!(told.contains(&signs(&address)), "{address} among {list}: {marks:?}");
        }
    }
}
