//! The writer of records: lines in compressed and sealed frames, each written at once, so that a process that is killed loses
//! the last one.

use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use super::chain::Chain;
use super::line::{self, Header, LINE, Lost, VERSION};
use super::read::end_of;
use super::seal::Seal;
use super::{Config, Counts, Entry, files};
use crate::file;
use crate::file::queue::Message;

/// The size of a frame before it is compressed.
const FRAME: usize = 256 << 10;
/// The longest that a line waits for its frame.
const WAIT: Duration = Duration::from_secs(1);
/// The longest that one file is written.
const AGE: Duration = Duration::from_secs(60 * 60);
/// The largest file.
const LARGEST: u64 = 64 << 20;
/// The parts that the bytes of all files have: so much of them is removed at once.
const PARTS: u64 = 8;
/// The level of compression.
const LEVEL: i32 = 3;

pub(super) struct Writer {
    config: Config,
    began: SystemTime,
    counts: Arc<Counts>,
    run: String,
    /// The files that this run began.
    files: u64,
    open: Option<Open>,
    /// The last file that was written whole, and its last hash.
    after: Option<(String, Chain)>,
    /// Objects without their hashes, one a line.
    pending: Vec<u8>,
    /// How many they are, and since when the first one waits.
    lines: u64,
    since: Instant,
    /// The dropped ones that the files tell of.
    told: u64,
}

/// The file that is written.
struct Open {
    file: fs::File,
    path: PathBuf,
    name: String,
    header: Option<Header>,
    chain: Chain,
    bytes: u64,
    since: Instant,
}

impl Writer {
    pub(super) fn new(config: Config, began: SystemTime, counts: Arc<Counts>) -> Self {
        const DIGITS: [char; 16] = [
            '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f',
        ];
        Self {
            config,
            began,
            counts,
            run: nanoid::nanoid!(12, &DIGITS),
            files: 0,
            open: None,
            after: None,
            pending: Vec::new(),
            lines: 0,
            since: Instant::now(),
            told: 0,
        }
    }

    /// Writes until the end.
    pub(super) fn run(mut self, queue: &Receiver<Message<Entry>>) {
        self.after = files::newest(&self.config.folder).and_then(|path| {
            let end = end_of(&path).ok()??;
            Some((path.file_name()?.to_str()?.to_owned(), end))
        });
        loop {
            match queue.recv_timeout(WAIT) {
                Ok(Message::Entry((event, size))) => {
                    self.add(line::write(&event, self.began + event.at));
                    self.counts.took(size);
                }
                Ok(Message::Flush(done)) => {
                    self.flush();
                    // The receiver may have given up.
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
            if self.pending.len() >= FRAME || self.since.elapsed() >= WAIT {
                self.flush();
            }
        }
    }

    pub(super) fn add(&mut self, object: serde_json::Result<Vec<u8>>) {
        let object = match object {
            Ok(object) if object.len() < LINE => object,
            Ok(_) => return self.counts.dropped(1, &"the decision is too large"),
            Err(error) => return self.counts.dropped(1, &error),
        };
        if self.lines == 0 {
            self.since = Instant::now();
        }
        self.pending.extend_from_slice(&object);
        self.pending.push(b'\n');
        self.lines += 1;
    }

    /// Writes the lines that wait. Those that cannot be written are dropped: memory is not to fill up instead of the disk.
    pub(super) fn flush(&mut self) {
        let lines = std::mem::take(&mut self.lines);
        let pending = std::mem::take(&mut self.pending);
        if lines == 0 {
            return;
        }
        match self.write(&pending) {
            Ok(()) => {
                self.counts.written.fetch_add(lines, Ordering::Relaxed);
            }
            Err(error) => self.counts.dropped(lines, &file::explained(&error)),
        }
    }

    fn write(&mut self, objects: &[u8]) -> io::Result<()> {
        let mut open = match self.take_open()? {
            Some(open) => open,
            None => self.begin()?,
        };
        let mut chain = open.chain;
        let mut text = Vec::with_capacity(objects.len() * 2);
        if let Some(header) = &open.header {
            chain.seal(&serde_json::to_vec(header)?, &mut text);
        }
        let dropped = self.counts.dropped.load(Ordering::Relaxed);
        if dropped > self.told {
            let lost = dropped - self.told;
            chain.seal(&serde_json::to_vec(&Lost { lost })?, &mut text);
        }
        for object in objects.split(|byte| *byte == b'\n') {
            if !object.is_empty() {
                chain.seal(object, &mut text);
            }
        }
        let frame = sealed(&text)?;
        if let Err(error) = open.file.write_all(&frame) {
            // The next frame must not follow a part of this one.
            if open.file.set_len(open.bytes).is_ok() {
                self.open = Some(open);
            } else {
                self.after = None;
            }
            return Err(file::at(&self.config.folder, error));
        }
        self.told = dropped;
        self.open = Some(Open {
            chain,
            header: None,
            bytes: open.bytes + frame.len() as u64,
            ..open
        });
        Ok(())
    }

    /// The file that is written, unless it is full, old, or gone.
    fn take_open(&mut self) -> io::Result<Option<Open>> {
        let Some(open) = self.open.take() else {
            return Ok(None);
        };
        let is_there = file::has_name(&open.file, &open.path)?;
        if is_there && open.bytes < self.largest() && open.since.elapsed() < AGE {
            return Ok(Some(open));
        }
        if open.header.is_none() {
            self.after = Some((open.name, open.chain));
        }
        Ok(None)
    }

    fn largest(&self) -> u64 {
        LARGEST.min(self.config.max_bytes / PARTS)
    }

    fn begin(&mut self) -> io::Result<Open> {
        let folder = &self.config.folder;
        file::restore_folder(folder)?;
        // A file ends with the frame that fills it.
        files::make_room(folder, self.config.max_bytes - 2 * self.largest())?;
        let now = SystemTime::now();
        let name = files::name(now, &self.run, self.files);
        let path = folder.join(&name);
        let file = files::create(&path).map_err(|error| file::at(&path, error))?;
        self.files += 1;
        let (after, chain) = self.after.clone().unzip();
        let chain = chain.unwrap_or_default();
        let header = Header {
            records: VERSION,
            gateway: env!("CARGO_PKG_VERSION").to_owned(),
            run: self.run.clone(),
            at: humantime::format_rfc3339_millis(now).to_string(),
            after,
            continues: chain.to_string(),
        };
        Ok(Open {
            file,
            path,
            name,
            header: Some(header),
            chain,
            bytes: 0,
            since: Instant::now(),
        })
    }
}

/// A frame after its seal. Its checksum is for programs that do not read seals, as `zstd --test`.
fn sealed(text: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(text.len() as u64))?;
    encoder.include_contentsize(true)?;
    encoder.write_all(text)?;
    let frame = encoder.finish()?;
    let seal = Seal::of(&frame).ok_or_else(|| io::Error::other("the frame is too large"))?;
    Ok([&seal.bytes(), &frame[..]].concat())
}
