use std::io;
use std::sync::{Arc, Mutex, Once};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// Reports panics of this test program as well as printing them.
fn report_too() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            before(panic);
        }));
    });
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Tells at its end whether a panic ended it.
struct Witness(Arc<Mutex<Vec<bool>>>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(is_unwinding());
    }
}

#[test]
fn the_place_of_a_panic_is_logged_and_its_message_is_not() {
    report_too();
    let lines = Lines::default();
    let log = tracing_subscriber::fmt().with_writer(lines.clone()).with_ansi(false).finish();
    let before = count();
    let outcome = tracing::subscriber::with_default(log, || caught(|| panic!("Bearer {}", "secret")));
    assert_eq!(outcome, Err::<(), _>(Panicked));
    assert!(count() > before);
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("ERROR") && text.contains("src/panics/tests.rs:"), "{text}");
    assert!(!text.contains("secret") && !text.contains("Bearer"), "{text}");
}

#[tokio::test]
async fn what_a_panic_leaves_behind_is_dropped_at_once_and_knows_why() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let held = |witness| async move {
        let _inside: Witness = witness;
        panic!("inside");
    };
    assert_eq!(contained(Box::pin(held(Witness(Arc::clone(&seen))))).await, Err::<(), _>(Panicked));
    assert_eq!(*seen.lock().unwrap(), [true]);
    let mut beside = Some(Witness(Arc::clone(&seen)));
    let polled =
        poll_fn(
            move |_| {
                if beside.is_some() { panic!("the witness is not in this frame") } else { Poll::Ready(beside.take()) }
            },
        );
    assert!(contained(polled).await.is_err());
    assert_eq!(*seen.lock().unwrap(), [true, true]);
    assert!(contained(Box::pin(async { drop(Witness(Arc::clone(&seen))) })).await.is_ok());
    assert_eq!(*seen.lock().unwrap(), [true, true, false]);
}

#[tokio::test]
async fn a_second_panic_while_cleaning_up_ends_no_more_than_the_first() {
    struct Worse;
    impl Drop for Worse {
        fn drop(&mut self) {
            panic!("while cleaning up");
        }
    }
    let worse = Worse;
    let outcome = contained(poll_fn(move |_| -> Poll<()> {
        let _kept = &worse;
        panic!("first")
    }));
    assert_eq!(outcome.await, Err(Panicked));
    assert!(!is_unwinding());
}

#[tokio::test(start_paused = true)]
async fn what_has_to_go_on_begins_again_after_a_rest() {
    let mut times = 0;
    let begun = tokio::time::Instant::now();
    let outcome = kept("a test", || {
        times += 1;
        let time = times;
        async move { if time < 3 { panic!("not yet") } else { time } }
    });
    assert_eq!(outcome.await, 3);
    assert_eq!(begun.elapsed(), REST * 2);
}
