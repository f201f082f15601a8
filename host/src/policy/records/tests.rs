//! Records are whole, bounded and chained, whatever happens to the process or the disk.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::digest::Digest;
use super::super::event::Asker;
use super::super::exchange::What;
use super::*;

fn event(tokens: u64) -> Event {
    // Ids that cannot be compressed, so that files grow.
    let id = nanoid::nanoid!(64);
    Event {
        request: Arc::new(Asker::new(
            tokens,
            id,
            (1, Digest::from([7; 32])),
            Default::default(),
        )),
        at: Duration::from_millis(tokens),
        what: What::Settled(tokens),
    }
}

fn writer(folder: &Path, max_bytes: u64) -> (Writer, Arc<Counts>) {
    let config = Config {
        folder: folder.to_owned(),
        max_bytes,
    };
    let counts = Arc::new(Counts::default());
    let writer = Writer::new(config, SystemTime::UNIX_EPOCH, Arc::clone(&counts));
    (writer, counts)
}

fn add(writer: &mut Writer, numbers: std::ops::Range<u64>) {
    for number in numbers {
        writer.add(line::write(&event(number), SystemTime::UNIX_EPOCH));
    }
    writer.flush();
}

/// The tokens of all lines, and the damage at the end.
fn read(path: &Path, ends: &mut Ends) -> (Vec<u64>, Option<Damage>) {
    let mut tokens = Vec::new();
    let mut file = File::open(path).unwrap();
    let header = file.header(ends);
    let is_empty = matches!(header, Ok(None));
    let mut damage = header.err();
    while damage.is_none() && !is_empty {
        match file.next() {
            Ok(Some(Line::Event(_, event))) => match event.what {
                What::Settled(number) => tokens.push(number),
                _ => unreachable!(),
            },
            Ok(Some(Line::Lost(lost))) => tokens.push(1_000_000 + lost),
            Ok(Some(Line::Header(_))) => unreachable!(),
            Ok(None) => break,
            Err(found) => damage = Some(found),
        }
    }
    file.end(ends);
    (tokens, damage)
}

#[test]
fn what_was_told_is_in_the_files_of_one_chain_over_runs() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("records");
    for run in 0..3 {
        let config = Config {
            folder: folder.clone(),
            max_bytes: 1 << 30,
        };
        let recorder = Recorder::start(config, SystemTime::UNIX_EPOCH).unwrap();
        for number in 0..100 {
            let event = Arc::new(event(100 * run + number));
            recorder.tell(&event, event.size());
        }
        recorder.close();
        assert_eq!(recorder.counts(), (100, 0));
    }
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let mut ends = Ends::default();
    let files = files_in(&folder).unwrap();
    assert_eq!(files.len(), 3);
    let mut all = Vec::new();
    for path in &files {
        assert_eq!(mode(path), 0o600);
        let mut file = File::open(path).unwrap();
        let after = file.header(&ends).unwrap().unwrap().after;
        assert_eq!(after.is_some(), path != &files[0]);
        assert!(after.is_none_or(|name| !ends.lacks(&name)));
        let (tokens, damage) = read(path, &mut ends);
        assert_eq!(damage, None);
        all.extend(tokens);
    }
    assert_eq!(all, (0..300).collect::<Vec<_>>());
}

#[test]
fn files_are_bounded_and_the_oldest_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, counts) = writer(folder.path(), 1 << 20);
    for part in 0..60 {
        add(&mut writer, (part * 500)..((part + 1) * 500));
    }
    drop(writer);
    assert_eq!(counts.written.load(Ordering::Relaxed), 30_000);
    let files = files_in(folder.path()).unwrap();
    let sizes = files.iter().map(|path| fs::metadata(path).unwrap().len());
    let total: u64 = sizes.sum();
    assert!((1 << 19..=1 << 20).contains(&total), "{total}");
    assert!(files.len() > 3, "{files:?}");
    let mut ends = Ends::default();
    let mut all = Vec::new();
    for path in &files {
        let (tokens, damage) = read(path, &mut ends);
        assert_eq!(damage, None);
        all.extend(tokens);
    }
    let first = all[0];
    assert!(first > 0, "the oldest are gone");
    assert_eq!(all, (first..30_000).collect::<Vec<_>>());
}

/// Also where zstd does not look, and at the end of the last file, which no other continues.
#[test]
fn one_flipped_bit_anywhere_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(folder.path(), 1 << 30);
    add(&mut writer, 0..5);
    add(&mut writer, 5..8);
    drop(writer);
    let path = files_in(folder.path()).unwrap().remove(0);
    let whole = fs::read(&path).unwrap();
    assert_eq!(read(&path, &mut Ends::default()), ((0..8).collect(), None));
    for bit in 0..8 * whole.len() {
        let mut altered = whole.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &altered).unwrap();
        let (tokens, damage) = read(&path, &mut Ends::default());
        let damage = damage.unwrap_or_else(|| panic!("bit {bit}"));
        assert!(!damage.is_torn, "bit {bit}: {damage}");
        // The header, the frame's five lines, and the second frame's three.
        let line = if tokens.is_empty() { 1 } else { 7 };
        assert_eq!(damage.line, line, "bit {bit}: {damage}");
    }
}

/// `zstdcat` and every other program that reads zstd.
#[test]
fn a_file_is_one_that_zstd_unpacks() {
    let folder = tempfile::tempdir().unwrap();
    let (mut writer, _) = writer(folder.path(), 1 << 30);
    add(&mut writer, 0..5);
    add(&mut writer, 5..8);
    drop(writer);
    let path = files_in(folder.path()).unwrap().remove(0);
    let text = zstd::decode_all(fs::File::open(&path).unwrap()).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.lines().count(), 9, "{text}");
}

#[test]
fn a_torn_end_costs_the_last_frame_and_the_next_run_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (mut first, _) = writer(folder.path(), 1 << 30);
    add(&mut first, 0..5);
    let path = files_in(folder.path()).unwrap().remove(0);
    let frame = fs::metadata(&path).unwrap().len();
    add(&mut first, 5..8);
    drop(first);
    let whole = fs::read(&path).unwrap();
    for length in [frame + 1, frame + 20, whole.len() as u64 - 1] {
        fs::write(&path, &whole[..length as usize]).unwrap();
        let (tokens, damage) = read(&path, &mut Ends::default());
        assert_eq!(tokens, [0, 1, 2, 3, 4], "{length}");
        assert!(damage.unwrap().is_torn, "{length}");
    }
    let config = Config {
        folder: folder.path().to_owned(),
        max_bytes: 1 << 30,
    };
    let recorder = Recorder::start(config, SystemTime::UNIX_EPOCH).unwrap();
    let event = Arc::new(event(9));
    recorder.tell(&event, event.size());
    recorder.close();
    let files = files_in(folder.path()).unwrap();
    let mut ends = Ends::default();
    assert!(read(&files[0], &mut ends).1.unwrap().is_torn);
    assert_eq!(read(&files[1], &mut ends), (vec![9], None));
    // Had whole frames been cut off, the next file would tell.
    fs::write(&path, &whole[..0]).unwrap();
    let mut ends = Ends::default();
    assert_eq!(read(&files[0], &mut ends), (Vec::new(), None));
    let (_, damage) = read(&files[1], &mut ends);
    assert!(damage.unwrap().what.contains("lines are missing"));
}

#[test]
fn what_a_disk_does_not_take_is_counted_and_told_later() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("records");
    fs::write(&folder, "no folder").unwrap();
    let (mut writer, counts) = writer(&folder, 1 << 30);
    add(&mut writer, 0..5);
    assert_eq!(counts.dropped.load(Ordering::Relaxed), 5);
    fs::remove_file(&folder).unwrap();
    add(&mut writer, 5..7);
    let path = files_in(&folder).unwrap().remove(0);
    assert_eq!(
        read(&path, &mut Ends::default()),
        (vec![1_000_005, 5, 6], None)
    );
    // A folder that is removed while it is written to is made again.
    fs::remove_dir_all(&folder).unwrap();
    add(&mut writer, 7..8);
    let path = files_in(&folder).unwrap().remove(0);
    assert_eq!(read(&path, &mut Ends::default()), (vec![7], None));
}

#[test]
fn a_disk_that_hangs_stops_nobody() {
    let (disk, hangs) = std::sync::mpsc::channel::<()>();
    let recorder = Recorder {
        queue: Queue::start("hangs", EVENTS, move |_| hangs.iter().for_each(drop)).unwrap(),
        counts: Arc::default(),
    };
    let event = Arc::new(event(1));
    assert!(recorder.has_room());
    for _ in 0..EVENTS + 10 {
        recorder.tell(&event, 1);
    }
    assert_eq!(recorder.counts(), (0, 10));
    assert!(!recorder.has_room(), "no request begins");
    assert_eq!(recorder.counts(), (0, 11));
    let huge = recorder.counts.bytes.load(Ordering::Relaxed) + BYTES;
    recorder.tell(&event, huge);
    assert_eq!(recorder.counts(), (0, 12));
    drop(disk);
}
