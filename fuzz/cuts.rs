//! Cuts bytes into pieces at places that depend on the bytes, so that recordings can be used as a corpus unchanged.

/// Three pieces of `bytes`, which may be empty.
pub fn cut(bytes: &[u8]) -> [&[u8]; 3] {
    // The hash is FNV-1a.
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    let place = |hash: u64| usize::try_from(hash % (bytes.len() as u64 + 1)).unwrap_or(0);
    let (one, other) = (place(hash >> 32), place(hash & 0xffff_ffff));
    let (first, second) = (one.min(other), one.max(other));
    [&bytes[..first], &bytes[first..second], &bytes[second..]]
}
