use super::*;
use crate::config;
use crate::diagnostic::Diagnostics;
use crate::upstream::member::Call;

fn members(count: u16) -> Arc<Members> {
    let endpoints = (0..count).map(|number| endpoint(&format!("10.0.0.{number}"), 80));
    Arc::new(Members::new(&endpoints.collect::<Vec<_>>(), Lookup::of_the_system()))
}

fn endpoint(host: &str, port: u16) -> Arc<Endpoint> {
    let written = config::Endpoint { tls: false, host: host.to_owned(), port, unix: false };
    let upstream = config::Upstream::new("crm", vec![written.clone()]);
    Arc::new(Endpoint::load(&upstream, &written, None, &mut Diagnostics::new()).unwrap())
}

/// How often each of them is chosen.
fn shares(members: &Members, balance: Balance, tried: &[u64]) -> Vec<usize> {
    let seats = members.seats();
    let mut shares = vec![0; seats.len()];
    for _ in 0..3000 {
        let chosen = members.choose(&seats, balance, tried).unwrap();
        shares[seats.iter().position(|seat| seat.member.id == chosen.member.id).unwrap()] += 1;
    }
    shares
}

fn fail(members: &Arc<Members>, position: usize, times: usize) {
    let call = Call::new(members, &members.seats()[position].member);
    (0..times).for_each(|_| call.failed());
}

fn at(members: &Members, position: usize) -> Arc<Member> {
    Arc::clone(&members.seats()[position].member)
}

const BOTH: [Balance; 2] = [Balance::RandomTwoLeastRequests, Balance::RoundRobin];

#[test]
fn everybody_gets_a_share() {
    assert_eq!(shares(&members(3), Balance::RoundRobin, &[]), [1000; 3]);
    let random = shares(&members(3), Balance::RandomTwoLeastRequests, &[]);
    assert!(random.iter().all(|share| (800..1200).contains(share)), "{random:?}");
}

#[test]
fn of_two_the_less_busy_is_asked() {
    let members = members(2);
    let busy = at(&members, 1);
    let calls: Vec<_> = (0..3).map(|_| Call::new(&members, &busy)).collect();
    assert_eq!(shares(&members, Balance::RandomTwoLeastRequests, &[]), [3000, 0]);
    drop(calls);
    assert_eq!(busy.under_way(), 0);
    assert!(shares(&members, Balance::RandomTwoLeastRequests, &[])[1] > 1000);
}

#[test]
fn the_busiest_of_many_is_never_asked() {
    let members = members(4);
    let _calls: Vec<_> = (0..2).map(|_| Call::new(&members, &at(&members, 2))).collect();
    let random = shares(&members, Balance::RandomTwoLeastRequests, &[]);
    assert_eq!(random[2], 0);
    assert!(random.iter().filter(|share| **share > 800).count() == 3, "{random:?}");
}

#[test]
fn who_was_tried_is_not_asked_again() {
    let members = members(3);
    let tried = [at(&members, 0).id, at(&members, 2).id];
    for balance in BOTH {
        assert_eq!(shares(&members, balance, &tried), [0, 3000, 0]);
    }
    let all: Vec<_> = members.seats().iter().map(|seat| seat.member.id).collect();
    for balance in BOTH {
        assert!(members.choose(&members.seats(), balance, &all).is_none());
    }
}

#[test]
fn who_fails_five_times_in_a_row_gets_nothing_for_a_while() {
    let members = members(3);
    fail(&members, 1, 4);
    Call::new(&members, &at(&members, 1)).succeeded();
    fail(&members, 1, 4);
    assert!(at(&members, 1).is_fit());
    fail(&members, 1, 1);
    assert!(!at(&members, 1).is_fit());
    for balance in BOTH {
        assert_eq!(shares(&members, balance, &[])[1], 0);
    }
}

#[test]
fn the_last_one_is_never_ejected() {
    for count in [1, 2, 5] {
        let members = members(count);
        for position in 0..usize::from(count) {
            fail(&members, position, 50);
        }
        let fit: Vec<_> = members.seats().iter().map(|seat| seat.member.is_fit()).collect();
        assert_eq!(fit.iter().filter(|fit| **fit).count(), 1, "{fit:?}");
        assert_eq!(fit.last(), Some(&true), "{fit:?}");
    }
}

#[test]
fn of_many_threads_that_fail_at_once_none_ejects_the_last() {
    for _ in 0..50 {
        let members = members(4);
        std::thread::scope(|scope| {
            for position in 0..4 {
                let members = &members;
                scope.spawn(move || fail(members, position, 20));
            }
        });
        assert_eq!(members.seats().iter().filter(|seat| seat.member.is_fit()).count(), 1);
    }
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn names(members: &Members) -> Vec<String> {
    members.seats().iter().map(|seat| seat.member.name.to_string()).collect()
}

#[test]
fn a_name_is_all_its_addresses_and_who_stays_keeps_what_is_known() {
    let endpoint = endpoint("crm.internal", 80);
    let members = Arc::new(Members::new(std::slice::from_ref(&endpoint), Lookup::of_the_system()));
    assert!(members.is_empty());
    members.adopt(&endpoint, &addresses(&["10.0.0.2:80", "[fd00::1]:80", "10.0.0.1:80", "10.0.0.2:80"]));
    assert_eq!(names(&members), ["10.0.0.1:80", "10.0.0.2:80", "[fd00::1]:80"]);
    fail(&members, 1, 5);
    let gone = Arc::downgrade(&members.seats()[0].in_force);
    let ejected = at(&members, 1);
    members.adopt(&endpoint, &addresses(&["10.0.0.3:80", "10.0.0.2:80"]));
    assert_eq!(names(&members), ["10.0.0.2:80", "10.0.0.3:80"]);
    assert!(Arc::ptr_eq(&ejected, &at(&members, 0)) && !ejected.is_fit());
    assert_eq!(gone.strong_count(), 0, "the pools of who has left are closed");
}

#[test]
fn endpoints_do_not_take_each_others_addresses() {
    let endpoints = [endpoint("a.internal", 80), endpoint("10.0.0.9", 80), endpoint("b.internal", 81)];
    let members = Members::new(&endpoints, Lookup::of_the_system());
    assert_eq!(names(&members), ["10.0.0.9:80"]);
    members.adopt(&endpoints[2], &addresses(&["10.0.0.1:81"]));
    members.adopt(&endpoints[0], &addresses(&["10.0.0.1:80"]));
    assert_eq!(names(&members), ["10.0.0.9:80", "10.0.0.1:81", "10.0.0.1:80"]);
}

#[test]
fn both_families_of_this_machine_are_one() {
    let endpoint = endpoint("localhost", 9000);
    let members = Members::new(std::slice::from_ref(&endpoint), Lookup::of_the_system());
    members.adopt(&endpoint, &addresses(&["[::1]:9000", "127.0.0.1:9000"]));
    assert_eq!(names(&members), ["localhost:9000"]);
}
