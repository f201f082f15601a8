//! Which connections give way, and which stay.

use std::net::SocketAddr;

use axum::http::Version;

use super::*;
use crate::api::connection::Underway;

fn peer(last: u8) -> Peer {
    Peer::from(SocketAddr::from(([192, 0, 2, last], 1)))
}

fn has_left(place: &Place) -> bool {
    place.leave.is_cancelled()
}

#[test]
fn descriptors_are_left_for_children_and_files() {
    let most = |limit| Connections::of_descriptors(limit).0.most;
    assert_eq!(most(1_024), 1_024 - 256 - 2 * EXTRA);
    assert_eq!(most(4_096), 4_096 - 512 - 2 * EXTRA);
    assert_eq!(most(1 << 20), 10_000);
    assert_eq!(most(0), 1);
}

#[tokio::test]
async fn who_never_asked_gives_way_first_and_then_who_has_most() {
    let connections = Connections::of(4);
    let (known, crowd) = (peer(1), [peer(2), peer(2)]);
    drop(known.begin(Version::HTTP_11));
    let honest = connections.enter(&known).unwrap();
    let silent = connections.enter(&peer(3)).unwrap();
    let mut many = Vec::new();
    for peer in &crowd {
        drop(peer.begin(Version::HTTP_11));
        many.push(connections.enter(peer).unwrap());
    }
    let fresh = [peer(4), peer(5)].map(|peer| {
        drop(peer.begin(Version::HTTP_11));
        connections.enter(&peer).unwrap()
    });
    assert!(has_left(&silent));
    assert_eq!(many.iter().filter(|place| has_left(place)).count(), 1);
    assert!(!has_left(&honest) && !fresh.iter().any(|place| has_left(place) || place.is_extra));
    assert_eq!(connections.occupancy().displaced, 2);
    assert_eq!(connections.occupancy().open, 6);
    drop((silent, many));
    assert_eq!(connections.occupancy().open, 3);
}

#[tokio::test]
async fn who_was_not_read_from_or_asks_just_then_stays() {
    let connections = Connections::of(3);
    let unread = Peer::unread(SocketAddr::from(([192, 0, 2, 1], 1)));
    let stays = connections.enter(&unread).unwrap();
    let (asks, silent) = (peer(2), peer(3));
    let mut asking = connections.enter(&asks).unwrap();
    let mut gone = connections.enter(&silent).unwrap();
    let busy = peer(4);
    let _answers = busy.begin(Version::HTTP_11);
    let _others = [(); 2].map(|()| connections.enter(&busy).unwrap());
    assert!(!has_left(&stays) && has_left(&asking) && has_left(&gone));
    gone.displaced(&silent).await;
    let underway = asks.begin(Version::HTTP_11);
    let displaced = tokio::time::timeout(FRESH, asking.displaced(&asks)).await;
    assert!(displaced.is_err() && !has_left(&asking));
    assert_eq!(connections.places().leaving, 1);
    drop((underway, asking, gone));
    assert_eq!(connections.occupancy().open, 3);
}

#[tokio::test]
async fn no_more_are_accepted_than_are_read_from() {
    let connections = Connections::of(1_000);
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(connections.ready().await.unwrap());
    }
    let next = tokio::time::timeout(Duration::from_millis(1), connections.ready());
    assert!(next.await.is_err());
    let peer = Peer::unread(SocketAddr::from(([192, 0, 2, 1], 1)));
    peer.awaits_its_turn(unread.pop().unwrap());
    drop(peer.begin(Version::HTTP_11));
    assert!(connections.ready().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn who_takes_none_of_its_answers_gives_way() {
    let connections = Connections::of(1);
    let peer = peer(1);
    let underway = [(); 2].map(|()| Arc::new(peer.begin(Version::HTTP_2)));
    let place = connections.enter(&peer).unwrap();
    let moment = Duration::from_secs(2);
    let mut offers = underway.each_ref().map(Underway::offer);
    offers[0].taken(1, true);
    offers[0] = underway[0].offer();
    offers[0].taken(1, true);
    assert_eq!(peer.idle(), None, "it has just taken something");
    tokio::time::sleep(moment).await;
    assert!(peer.idle().is_some());
    let further = Arc::new(peer.begin(Version::HTTP_2));
    assert_eq!(peer.idle(), None, "it waits for the model");
    let offer = further.offer();
    assert!(
        peer.idle().is_some(),
        "a further request is no sign of life"
    );
    drop((offer, further));
    let next = connections.enter(&super::tests::peer(2)).unwrap();
    assert!(has_left(&place) && !next.is_extra);
    drop((underway, offers));
    assert!(peer.idle().is_some());
}

#[tokio::test(start_paused = true)]
async fn the_time_in_which_one_stream_waits_for_the_model_does_not_count() {
    let peer = peer(1);
    let [full, slow] = [(); 2].map(|()| Arc::new(peer.begin(Version::HTTP_2)));
    let _unread = full.offer();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let _new = slow.offer();
    assert_eq!(peer.idle(), None, "its window may have room for this one");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(peer.idle().is_some());
}

/// A peer that takes so many bytes of a large answer each second. Returns whether it counts as stuck after a while.
async fn is_stuck_with(peer: &Peer, bytes: usize) -> bool {
    let underway = Arc::new(peer.begin(Version::HTTP_2));
    let first = underway.offer();
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        first.taken(bytes, false);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    peer.idle().is_some()
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_waited_for_if_it_is_a_caller_and_takes_more_than_a_byte() {
    let [stranger, caller] = [peer(1), peer(2)];
    caller.authenticated();
    assert!(is_stuck_with(&stranger, 1_024).await);
    assert!(!is_stuck_with(&caller, 1_024).await);
    assert!(is_stuck_with(&caller, 1).await);
}

#[tokio::test(start_paused = true)]
async fn callers_outlast_strangers_wherever_they_come_from() {
    let connections = Connections::of(3);
    let callers = [peer(1), peer(1)];
    let places = callers.each_ref().map(|caller| {
        drop(caller.begin(Version::HTTP_11));
        caller.authenticated();
        connections.enter(caller).unwrap()
    });
    tokio::time::sleep(FRESH).await;
    let stranger = peer(2);
    drop(stranger.begin(Version::HTTP_11));
    let gone = connections.enter(&stranger).unwrap();
    let _next = connections.enter(&peer(3)).unwrap();
    assert!(has_left(&gone) && !places.iter().any(has_left));
    let slow = Arc::new(callers[0].begin(Version::HTTP_11));
    let _offer = slow.offer();
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(callers[0].idle(), None, "a caller may be slow");
}

#[tokio::test]
async fn busy_ones_stay_and_a_full_gateway_can_still_be_asked() {
    let connections = Connections::of(2);
    let busy = [peer(1), peer(2)];
    let underway: Vec<_> = busy
        .iter()
        .map(|peer| peer.begin(Version::HTTP_11))
        .collect();
    let stay: Vec<_> = busy
        .iter()
        .map(|peer| connections.enter(peer).unwrap())
        .collect();
    assert!(!stay.iter().any(|place| place.is_extra));
    let asking = peer(3);
    let extra = connections.enter(&asking).unwrap();
    assert!(extra.is_extra);
    let _asked = asking.begin(Version::HTTP_11);
    let more: Vec<_> = (1..EXTRA)
        .map(|_| connections.enter(&asking).unwrap())
        .collect();
    assert!(connections.enter(&asking).is_none());
    assert_eq!(connections.occupancy().turned_away, 1);
    drop((extra, more, stay, underway));
    assert_eq!(connections.occupancy().open, 0);
}
