//! Responses that are kept, for their callers only, and those that are forgotten for them.

use super::*;
use crate::codex::Role;

fn memory(text: &str) -> Memory {
    let said = Item::Message {
        role: Role::User,
        parts: vec![Part::Text(text.to_owned())],
    };
    Memory {
        items: HashMap::from([(format!("msg_{text}"), Some(said.clone()))]),
        conversation: vec![said],
        input: 1,
    }
}

#[test]
fn a_response_belongs_to_its_caller() {
    let store = Responses::default();
    store.put("alice", "resp_1", "{}".to_owned(), memory("hi"));
    assert_eq!(store.object("alice", "resp_1").as_deref(), Some("{}"));
    assert_eq!(store.object("bob", "resp_1"), None);
    assert_eq!(store.conversation("bob", "resp_1"), None);
    assert_eq!(store.item("bob", "msg_hi"), None);
    assert!(!store.delete("bob", "resp_1"));
    assert!(store.delete("alice", "resp_1"));
    assert_eq!(store.item("alice", "msg_hi"), None, "its items go with it");
}

#[test]
fn a_socket_continues_its_last_response_once_and_no_other_does() {
    let store = Responses::default();
    store.put_for_socket(7, "alice", "resp_1", memory("hi"));
    assert_eq!(store.object("alice", "socket 7"), None);
    assert_eq!(store.conversation("alice", "resp_1"), None);
    assert!(!store.delete("alice", "socket 7"));
    assert_eq!(store.take_for_socket(8, "alice", "resp_1"), None);
    assert_eq!(store.take_for_socket(7, "bob", "resp_1"), None);
    assert_eq!(store.take_for_socket(7, "alice", "resp_0"), None);
    assert!(store.take_for_socket(7, "alice", "resp_1").is_some());
    assert_eq!(store.take_for_socket(7, "alice", "resp_1"), None);
    store.put_for_socket(7, "alice", "resp_2", memory("a"));
    store.put_for_socket(7, "alice", "resp_3", memory("b"));
    assert_eq!(store.kept().order.len(), 1, "only the last");
    store.forget_socket(7);
    let kept = store.kept();
    assert!(kept.order.is_empty() && kept.callers.is_empty() && kept.bytes == 0);
}

#[test]
fn the_oldest_are_forgotten_when_there_are_too_many_or_they_are_too_large() {
    let store = Responses::default();
    for n in 0..=MOST {
        store.put("a", &n.to_string(), String::new(), memory("x"));
    }
    assert_eq!(store.object("a", "0"), None);
    assert!(store.object("a", "1").is_some());
    store.put("a", "large", "x".repeat(MOST_BYTES), Memory::default());
    assert!(store.object("a", "large").is_some(), "it alone just fits");
    assert_eq!(store.object("a", &MOST.to_string()), None);
    store.put("a", "larger", "x".repeat(MOST_BYTES + 1), Memory::default());
    assert_eq!(store.object("a", "larger"), None);
    assert!(store.object("a", "large").is_some(), "nothing went for it");
}

#[test]
fn who_keeps_much_makes_room_among_its_own() {
    let store = Responses::default();
    store.put("bob", "his", "{}".to_owned(), memory("x"));
    for n in 0..3 {
        let half = "x".repeat(MOST_BYTES / 2);
        store.put("alice", &n.to_string(), half, Memory::default());
    }
    assert!(store.object("bob", "his").is_some());
    assert!(store.object("alice", "2").is_some());
    assert_eq!(store.object("alice", "1"), None);
    for n in 0..=MOST {
        store.put("carol", &n.to_string(), String::new(), memory("x"));
    }
    assert!(store.object("bob", "his").is_some());
    assert!(store.object("alice", "2").is_some());
    assert_eq!(store.object("carol", "1"), None);
    let few = memory("x");
    let bytes: usize = few.conversation.iter().map(size).sum();
    assert!(bytes > size_of::<Item>(), "many small items are not small");
}

#[test]
fn the_events_of_a_response_count_and_go_with_it() {
    let store = Responses::default();
    let logs = [(); 3].map(|()| Arc::new(EventLog::new()));
    for (n, log) in logs.iter().enumerate() {
        log.close(Vec::new());
        let ended = Ended {
            object: "{}".to_owned(),
            memory: Memory::default(),
            answered: true,
            events: Some(Arc::clone(log)),
            event_bytes: MOST_BYTES / 2 - 2,
        };
        store.keep(("alice", &n.to_string()), ended);
    }
    let read = |id| {
        store
            .read_events("alice", id, None)
            .map_err(|error| error.code.clone())
    };
    assert_eq!(read("0").unwrap_err(), "response_not_found");
    assert!(read("1").is_ok() && read("2").is_ok());
    assert!(logs[0].read(None).is_err(), "its readers hold no memory");
    assert!(store.delete("alice", "1") && logs[1].read(None).is_err());
    store.put("alice", "plain", "{}".to_owned(), memory("hi"));
    assert_eq!(read("plain").unwrap_err(), "unsupported_value");
}
