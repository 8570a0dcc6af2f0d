use super::*;

type Shared = Arc<Places<&'static str>>;

const TYPICAL: Duration = Duration::from_millis(25);

fn places(at_once: usize, each: usize, waiting: usize) -> Shared {
    Places::new(Limits {
        at_once,
        each,
        waiting,
        typical: TYPICAL,
    })
}

fn enter(places: &Shared, key: &'static str) -> Place<&'static str> {
    Places::enter(places, &key).unwrap()
}

fn given(places: &Shared, key: &'static str) -> Permit<&'static str> {
    match enter(places, key) {
        Place::Given(permit) => permit,
        Place::Queued(_) => panic!("`{key}` has to wait"),
    }
}

fn queued(places: &Shared, key: &'static str) -> Queued<&'static str> {
    match enter(places, key) {
        Place::Given(_) => panic!("`{key}` need not wait"),
        Place::Queued(queued) => queued,
    }
}

fn refused(places: &Shared, key: &'static str) -> u64 {
    match Places::enter(places, &key) {
        Err(refused) => refused.retry_after.as_secs(),
        Ok(place) => panic!("not refused: {place:?}"),
    }
}

/// The keys in the order in which they get their turn, one at a time, and leave again.
fn order(running: Vec<Permit<&'static str>>, mut waiting: Vec<Queued<&'static str>>) -> String {
    let mut order = String::new();
    let mut running = VecDeque::from(running);
    while let Some(done) = running.pop_front() {
        drop(done);
        waiting.retain_mut(|queued| match queued.place.try_recv() {
            Ok(permit) => {
                order.push_str(queued.key);
                running.push_back(permit.unwrap());
                false
            }
            Err(_) => true,
        });
    }
    assert!(waiting.is_empty(), "somebody waits for ever");
    order
}

fn is_forgotten(places: &Shared) -> bool {
    places.lock().of.is_empty()
}

#[test]
fn whoever_comes_new_is_next() {
    let places = places(1, 1, 100);
    let running = vec![given(&places, "a")];
    let mut waiting: Vec<_> = (0..5).map(|_| queued(&places, "a")).collect();
    waiting.push(queued(&places, "b"));
    waiting.push(queued(&places, "c"));
    assert_eq!(order(running, waiting), "bcaaaaa");
    assert!(is_forgotten(&places));
}

#[test]
fn turns_go_round() {
    let places = places(1, 1, 100);
    let running = vec![given(&places, "a")];
    let waiting = ["a", "a", "a", "b", "b", "b", "c", "c"];
    let waiting = waiting.map(|key| queued(&places, key)).into();
    assert_eq!(order(running, waiting), "bcabcaba");
}

/// One that never has more than one piece of work, and always has one, gets its share and no more.
#[test]
fn who_comes_again_at_once_has_its_turn_behind_those_that_wait() {
    let places = places(1, 1, 100);
    let mut running = given(&places, "a");
    let mut waiting: Vec<_> = ["a", "c", "a", "c", "a", "c"]
        .map(|key| queued(&places, key))
        .into();
    let mut order = String::new();
    while waiting.iter().any(|queued| queued.key != "b") {
        if !waiting.iter().any(|queued| queued.key == "b") && running.key != "b" {
            waiting.push(queued(&places, "b"));
        }
        drop(running);
        let next = waiting.iter_mut().enumerate();
        let mut next = next.filter_map(|(at, queued)| Some((at, queued.place.try_recv().ok()?)));
        let (at, permit) = next.next().unwrap();
        running = permit.unwrap();
        drop(next);
        waiting.remove(at);
        order.push_str(running.key);
    }
    // Never twice in a row while others wait; nobody is passed over by more than one of each other.
    assert_eq!(order, "cbacabca");
}

/// A stream of tenants that never were there before does not starve one that was.
#[test]
fn newcomers_without_end_do_not_keep_a_line_waiting() {
    let places = Places::new(Limits {
        at_once: 1,
        each: 1,
        waiting: 100,
        typical: TYPICAL,
    });
    let enter = |key: u32| match Places::enter(&places, &key).unwrap() {
        Place::Queued(queued) => queued,
        Place::Given(_) => panic!("there is work"),
    };
    let Place::Given(mut running) = Places::enter(&places, &0).unwrap() else {
        panic!("nobody was there");
    };
    let mut old = enter(0);
    for new in 1..=10 {
        let mut newcomer = enter(new);
        drop(running);
        if let Ok(permit) = old.place.try_recv() {
            drop(permit.unwrap());
            assert!(new <= 3, "passed over {new} times");
            return;
        }
        running = newcomer.place.try_recv().unwrap().unwrap();
    }
    panic!("passed over ten times");
}

#[test]
fn no_key_has_more_than_its_own_limit_and_others_get_the_rest() {
    let places = places(6, 3, 100);
    let a: Vec<_> = (0..3).map(|_| given(&places, "a")).collect();
    let mut waits = queued(&places, "a");
    let b: Vec<_> = (0..3).map(|_| given(&places, "b")).collect();
    let mut c = queued(&places, "c");
    assert_eq!(places.running(), 6);
    drop(b);
    assert!(waits.place.try_recv().is_err(), "three of `a` still run");
    let c = c.place.try_recv().unwrap().unwrap();
    drop(a);
    drop((waits.place.try_recv().unwrap().unwrap(), c));
    drop(waits);
    assert_eq!((places.running(), places.waiting()), (0, 0));
    assert!(is_forgotten(&places));
}

#[test]
fn places_in_which_to_wait_are_shared_too() {
    let places = places(1, 1, 6);
    let running = vec![given(&places, "a")];
    let mut a: Vec<_> = (0..6).map(|_| queued(&places, "a")).collect();
    refused(&places, "a");
    let mut b: Vec<_> = (0..3).map(|_| queued(&places, "b")).collect();
    refused(&places, "b");
    refused(&places, "a");
    // The latest of the longest line had to go, and are told so.
    for pushed_out in a.drain(3..) {
        let Queued { place, .. } = &mut { pushed_out };
        place.try_recv().unwrap().unwrap_err();
    }
    let c = queued(&places, "c");
    let c2 = queued(&places, "c");
    refused(&places, "c");
    a.truncate(2);
    b.truncate(2);
    assert_eq!(places.waiting(), 6);
    assert_eq!(places.refused(), 3 + 3 + 2 + 1);
    a.extend(b);
    a.extend([c, c2]);
    assert_eq!(order(running, a), "bcabca");
}

#[test]
fn a_look_says_what_entering_would() {
    let places = places(1, 1, 2);
    places.look(&"a").unwrap();
    let running = given(&places, "a");
    places.look(&"a").unwrap();
    let waiting = [queued(&places, "a"), queued(&places, "a")];
    places.look(&"a").unwrap_err();
    places.look(&"b").unwrap();
    assert_eq!(places.waiting(), 2, "nothing is taken by a look");
    drop((running, waiting));
    places.look(&"a").unwrap();
}

#[test]
fn what_was_let_in_before_is_not_refused_and_goes_first() {
    let places = places(1, 1, 1);
    let again = || match Places::enter_again(&places, &"a") {
        Place::Queued(queued) => queued,
        Place::Given(_) => panic!("there is work"),
    };
    let mut running = given(&places, "a");
    let waits = queued(&places, "a");
    let (first, second) = (again(), again());
    assert_eq!(places.waiting(), 1, "takes nobody's place");
    for mut next in [first, second, waits] {
        drop(running);
        running = next.place.try_recv().unwrap().unwrap();
    }
    drop(running);
    assert!(is_forgotten(&places));
}

/// So many callers of `a` in a row that are refused: how many seconds each is told to wait.
fn told(places: &Shared, count: usize) -> Vec<u64> {
    (0..count).map(|_| refused(places, "a")).collect()
}

#[tokio::test(start_paused = true)]
async fn who_is_refused_is_given_a_turn_of_its_own() {
    let one = places(1, 1, 0);
    let running = given(&one, "a");
    let told_first = told(&one, 100);
    assert_eq!(told_first[..40], [1; 40], "40 of 25 ms in a second");
    assert_eq!(told_first[40..80], [2; 40]);
    assert_eq!(told_first[80..], [3; 20]);
    assert_eq!(refused(&one, "b"), 1, "others have turns of their own");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(told(&one, 1), [1], "half a second is still promised");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(told(&one, 41)[39..], [1, 2], "and nothing now");
    drop(running);

    let four = places(4, 4, 0);
    let _running: Vec<_> = (0..4).map(|_| given(&four, "a")).collect();
    assert_eq!(told(&four, 161)[159..], [1, 2], "four at a time");
    let shared = places(4, 4, 0);
    let _running: Vec<_> = (0..4).map(|n| given(&shared, ["a", "b"][n % 2])).collect();
    assert_eq!(told(&shared, 81)[79..], [1, 2], "half of them");
    let bounded = places(4, 1, 0);
    let _running = given(&bounded, "a");
    assert_eq!(told(&bounded, 41)[39..], [1, 2], "as many as it may have");
}

#[tokio::test(start_paused = true)]
async fn turns_follow_what_the_work_takes_and_end_somewhere() {
    let places = places(1, 1, 0);
    for _ in 0..100 {
        let running = given(&places, "a");
        tokio::time::advance(Duration::from_millis(500)).await;
        drop(running);
    }
    let running = given(&places, "a");
    assert_eq!(told(&places, 6), [1, 1, 2, 2, 3, 3]);
    assert_eq!(told(&places, 1_000).last(), Some(&120));
    drop(running);
    for _ in 0..100 {
        drop(given(&places, "a"));
    }
    tokio::time::advance(Duration::from_secs(300)).await;
    let _running = given(&places, "a");
    assert_eq!(told(&places, 1_000).last(), Some(&1), "never less");
}
