//! One connection of a fabric and its streams: who waits for what, until when.

use super::{Fabric, Fate, Passing, is_far};
use crate::{CloseReason, Protocol, TransportError, frames::LENGTH_BYTES};
use fondaco_crypto::EntityId;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How a connection ended, as one side sees it.
#[derive(Clone, Copy, Debug)]
pub(super) enum End {
    /// By this side.
    Local,
    /// By the other one.
    Remote(CloseReason),
    /// By the network.
    Lost(&'static str),
}

/// One connection. Side 0 has dialled, side 1 was dialled.
pub(super) struct Link {
    fabric: Fabric,
    number: u64,
    pub(super) ends: [EntityId; 2],
    pub(super) ports: [u64; 2],
    protocol: Protocol,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    /// How each side finds that it has ended, and from when on.
    ended: [Option<(Instant, End)>; 2],
    /// Streams that have come for each side, or are about to.
    incoming: [VecDeque<u64>; 2],
    streams: BTreeMap<u64, Streaming>,
    next: u64,
}

/// One stream: what each side sends.
struct Streaming {
    /// Which side has opened it.
    opener: usize,
    pipes: [Pipe; 2],
    /// How many halves are in use.
    halves: u8,
}

/// What one side sends on a stream.
#[derive(Default)]
struct Pipe {
    /// When each piece arrives, its bytes, and how many of them were read.
    pieces: VecDeque<(Instant, Vec<u8>, usize)>,
    /// When the last piece arrives.
    busy: Option<Instant>,
    /// From when on the reader finds the end.
    finished: Option<Instant>,
    reset: Option<(Instant, CloseReason)>,
    stopped: Option<(Instant, CloseReason)>,
    announced: bool,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(
        fabric: Fabric,
        number: u64,
        ends: [EntityId; 2],
        ports: [u64; 2],
        protocol: Protocol,
    ) -> Self {
        let (state, changed) = (Mutex::default(), Notify::new());
        Self { fabric, number, ends, ports, protocol, state, changed }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends one side at a moment, unless it ends sooner.
    pub(super) fn end(&self, side: usize, end: End, at: Instant) {
        let mut state = self.state();
        if state.ended[side].is_none_or(|(sooner, _)| at < sooner) {
            state.ended[side] = Some((at, end));
        }
        let over = state.ended.iter().all(Option::is_some);
        drop(state);
        self.changed.notify_waiters();
        if over {
            self.fabric.forget(self.number);
        }
    }

    /// The network loses it.
    pub(super) fn lose(&self, at: Instant, why: &'static str) {
        self.end(0, End::Lost(why), at);
        self.end(1, End::Lost(why), at);
    }

    fn close(&self, side: usize, reason: CloseReason) {
        let delay = self.fabric.delay();
        self.end(side, End::Local, Instant::now());
        self.end(1 - side, End::Remote(reason), Instant::now() + delay);
    }

    /// Lets what stood still come at `arrives`.
    pub(super) fn release(&self, arrives: Instant) {
        let mut state = self.state();
        for pipe in state.streams.values_mut().flat_map(|stream| &mut stream.pipes) {
            let held = pipe.pieces.iter_mut().map(|(at, _, _)| at);
            let ends = [pipe.busy.as_mut(), pipe.finished.as_mut()].into_iter().flatten();
            held.chain(ends).filter(|at| is_far(**at)).for_each(|at| *at = arrives);
        }
        drop(state);
        self.changed.notify_waiters();
    }

    /// Waits until `look` finds something. It returns what it found, or when to look again.
    async fn until<T>(&self, mut look: impl FnMut(&mut State) -> Result<T, Option<Instant>>) -> T {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            let again = match look(&mut self.state()) {
                Ok(found) => return found,
                Err(again) => again,
            };
            match again {
                None => changed.await,
                // It stands still until somebody is back.
                Some(at) if is_far(at) => changed.await,
                Some(at) => tokio::select! {
                    biased;
                    () = changed => {}
                    () = sleep_until(at) => {}
                },
            }
        }
    }
}

/// The sooner of two moments, of which there may be none.
fn sooner(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

impl State {
    /// Whether a side has ended by now, and how; else when it will.
    fn ended(&self, side: usize) -> Result<End, Option<Instant>> {
        match self.ended[side] {
            Some((at, end)) if at <= Instant::now() => Ok(end),
            other => Err(other.map(|(at, _)| at)),
        }
    }
}

/// One side of a connection; it closes when the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<Side>);

#[derive(Debug)]
struct Side {
    link: Arc<Link>,
    side: usize,
}

impl Drop for Side {
    fn drop(&mut self) {
        self.link.close(self.side, CloseReason::Done);
    }
}

impl Handle {
    pub(super) fn new(link: &Arc<Link>, side: usize) -> Self {
        Self(Arc::new(Side { link: Arc::clone(link), side }))
    }

    fn peer(&self) -> EntityId {
        self.0.link.ends[1 - self.0.side]
    }

    fn error(&self, end: End) -> TransportError {
        let peer = self.peer();
        match end {
            End::Local => TransportError::ClosedHere { peer },
            End::Remote(reason) => TransportError::Closed { peer, reason },
            End::Lost(why) => TransportError::Lost { peer, detail: why.to_owned() },
        }
    }

    pub(crate) fn open(&self) -> Result<(SendHalf, RecvHalf), TransportError> {
        let mut state = self.0.link.state();
        if let Ok(end) = state.ended(self.0.side) {
            return Err(self.error(end));
        }
        let number = state.next;
        state.next += 1;
        state.streams.insert(
            number,
            Streaming { opener: self.0.side, pipes: Default::default(), halves: 2 },
        );
        drop(state);
        Ok(self.halves(number))
    }

    fn halves(&self, stream: u64) -> (SendHalf, RecvHalf) {
        (SendHalf { handle: self.clone(), stream }, RecvHalf { handle: self.clone(), stream })
    }

    pub(crate) async fn accept(&self) -> Result<(SendHalf, RecvHalf), TransportError> {
        let Side { link, side } = &*self.0;
        let found = link
            .until(|state| {
                let now = Instant::now();
                let mut next = None;
                let mut come = None;
                for (place, number) in state.incoming[*side].iter().enumerate() {
                    let front = state.streams.get(number).and_then(|stream| {
                        let pipe = &stream.pipes[1 - *side];
                        pipe.pieces.front().map(|(at, _, _)| *at).or(pipe.finished)
                    });
                    match front {
                        Some(at) if at <= now => {
                            come = Some((place, *number));
                            break;
                        }
                        other => next = sooner(next, other),
                    }
                }
                if let Some((place, number)) = come {
                    state.incoming[*side].remove(place);
                    if let Some(stream) = state.streams.get_mut(&number) {
                        stream.halves += 2;
                    }
                    return Ok(Ok(number));
                }
                match state.ended(*side) {
                    Ok(end) => Ok(Err(end)),
                    Err(at) => Err(sooner(next, at)),
                }
            })
            .await;
        found.map(|number| self.halves(number)).map_err(|end| self.error(end))
    }

    pub(crate) fn close(&self, reason: CloseReason) {
        self.0.link.close(self.0.side, reason);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.link.state().ended(self.0.side).is_ok()
    }

    pub(crate) async fn closed(&self) -> TransportError {
        let side = self.0.side;
        let end = self.0.link.until(|state| state.ended(side)).await;
        self.error(end)
    }

    fn passing<'a>(&self, stream: u64, frame: &'a [u8], from: usize) -> Passing<'a> {
        let link = &self.0.link;
        let (from, to) = (link.ends[from], link.ends[1 - from]);
        let (connection, protocol) = (link.number, link.protocol);
        Passing { from, to, connection, stream, protocol, frame }
    }

    fn drop_half(&self, stream: u64) {
        let mut state = self.0.link.state();
        if let Some(streaming) = state.streams.get_mut(&stream) {
            streaming.halves -= 1;
            let unheard = state.incoming.iter().any(|waiting| waiting.contains(&stream));
            if !unheard && state.streams[&stream].halves == 0 {
                state.streams.remove(&stream);
            }
        }
        drop(state);
        self.0.link.changed.notify_waiters();
    }
}

/// The half of a stream that sends.
#[derive(Debug)]
pub(crate) struct SendHalf {
    handle: Handle,
    stream: u64,
}

impl SendHalf {
    /// Sends one frame, its length before it.
    pub(crate) fn write_frame(&self, frame: Vec<u8>) -> Result<(), TransportError> {
        let Side { link, side } = &*self.handle.0;
        let peer = self.handle.peer();
        // Also what goes into a connection that is lost: its sender has let it out of its hands.
        if let Some(tap) = link.fabric.tap() {
            let body = frame.get(LENGTH_BYTES..).unwrap_or_default();
            tap.sent(self.handle.passing(self.stream, body, *side));
        }
        let mut state = link.state();
        if let Ok(end) = state.ended(*side) {
            return Err(self.handle.error(end));
        }
        let Some(streaming) = state.streams.get_mut(&self.stream) else {
            return Err(TransportError::StreamEnded { peer });
        };
        let pipe = &mut streaming.pipes[*side];
        if let Some((_, reason)) = pipe.stopped.filter(|(at, _)| *at <= Instant::now()) {
            return Err(TransportError::StreamGivenUp { peer, reason });
        }
        if pipe.finished.is_some() || pipe.reset.is_some() {
            return Err(TransportError::StreamEnded { peer });
        }
        let (ends, busy) = (link.ends, pipe.busy.unwrap_or_else(Instant::now));
        let (from, to) = (ends[*side], ends[1 - *side]);
        let Fate { arrives, cut } = link.fabric.fate(from, to, frame.len(), busy);
        let mut bytes = frame;
        if let Some(kept) = cut {
            bytes.truncate(kept);
        }
        pipe.busy = Some(arrives);
        pipe.pieces.push_back((arrives, bytes, 0));
        let is_new = !std::mem::replace(&mut pipe.announced, true);
        if is_new && streaming.opener == *side {
            state.incoming[1 - *side].push_back(self.stream);
        }
        drop(state);
        link.changed.notify_waiters();
        if cut.is_some() {
            link.lose(arrives, "cut");
        }
        Ok(())
    }

    pub(crate) fn finish(&self) {
        let Side { link, side } = &*self.handle.0;
        let mut state = link.state();
        let Some(streaming) = state.streams.get_mut(&self.stream) else { return };
        let pipe = &mut streaming.pipes[*side];
        if pipe.finished.is_none() && pipe.reset.is_none() {
            // Close behind the last frame.
            let at = pipe.busy.unwrap_or_else(Instant::now);
            pipe.finished = Some(at);
        }
        drop(state);
        link.changed.notify_waiters();
    }

    pub(crate) fn reset(&self, reason: CloseReason) {
        let Side { link, side } = &*self.handle.0;
        let at = Instant::now() + link.fabric.delay();
        let mut state = link.state();
        let Some(streaming) = state.streams.get_mut(&self.stream) else { return };
        let pipe = &mut streaming.pipes[*side];
        if pipe.finished.is_none() && pipe.reset.is_none() {
            pipe.reset = Some((at, reason));
        }
        drop(state);
        link.changed.notify_waiters();
    }

    pub(crate) async fn delivered(&self) -> Result<(), TransportError> {
        let Side { link, side } = &*self.handle.0;
        let peer = self.handle.peer();
        link.until(|state| {
            let now = Instant::now();
            let pipe = state.streams.get(&self.stream).map(|stream| &stream.pipes[*side]);
            let at = match pipe {
                None => return Ok(Ok(())),
                Some(pipe) => match pipe.stopped.filter(|(at, _)| *at <= now) {
                    Some((_, reason)) => {
                        return Ok(Err(TransportError::StreamGivenUp { peer, reason }));
                    }
                    None => pipe.busy.unwrap_or(now),
                },
            };
            if at <= now {
                return Ok(Ok(()));
            }
            match state.ended(*side) {
                Ok(end) => Ok(Err(self.handle.error(end))),
                Err(ends) => Err(sooner(Some(at), ends)),
            }
        })
        .await
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        self.finish();
        self.handle.drop_half(self.stream);
    }
}

/// The half of a stream that receives.
#[derive(Debug)]
pub(crate) struct RecvHalf {
    handle: Handle,
    stream: u64,
}

impl RecvHalf {
    /// Receives at most `length_max` bytes; nothing at the end.
    pub(crate) async fn read(&self, length_max: usize) -> Result<Option<Vec<u8>>, TransportError> {
        let Side { link, side } = &*self.handle.0;
        let peer = self.handle.peer();
        let (read, whole) = link
            .until(|state| {
                let now = Instant::now();
                let ended = state.ended(*side);
                let Some(streaming) = state.streams.get_mut(&self.stream) else {
                    return Ok((Err(TransportError::StreamEnded { peer }), None));
                };
                let pipe = &mut streaming.pipes[1 - *side];
                if let Some((_, reason)) = pipe.reset.filter(|(at, _)| *at <= now) {
                    return Ok((Err(TransportError::StreamGivenUp { peer, reason }), None));
                }
                let mut next = pipe.finished.or(pipe.reset.map(|(at, _)| at));
                if let Some((at, bytes, from)) = pipe.pieces.front_mut() {
                    if *at <= now {
                        let end = bytes.len().min(*from + length_max);
                        let part = bytes[*from..end].to_vec();
                        *from = end;
                        let whole = (end == bytes.len()).then(|| pipe.pieces.pop_front());
                        let whole = whole.flatten().map(|(_, bytes, _)| bytes);
                        if !part.is_empty() {
                            return Ok((Ok(Some(part)), whole));
                        }
                        return Err(Some(now)); // an empty piece: look again
                    }
                    next = Some(*at);
                } else if pipe.finished.is_some_and(|at| at <= now) {
                    return Ok((Ok(None), None));
                }
                match ended {
                    Ok(end) => Ok((Err(self.handle.error(end)), None)),
                    Err(at) => Err(sooner(next, at)),
                }
            })
            .await;
        if let (Some(frame), Some(tap)) = (whole, link.fabric.tap())
            && let Some((length, body)) = frame.split_first_chunk::<LENGTH_BYTES>()
            && u32::from_le_bytes(*length) as usize == body.len()
        {
            tap.came(self.handle.passing(self.stream, body, 1 - *side));
        }
        read
    }

    pub(crate) fn stop(&self, reason: CloseReason) {
        let Side { link, side } = &*self.handle.0;
        let at = Instant::now() + link.fabric.delay();
        let mut state = link.state();
        let Some(streaming) = state.streams.get_mut(&self.stream) else { return };
        let pipe = &mut streaming.pipes[1 - *side];
        pipe.stopped.get_or_insert((at, reason));
        drop(state);
        link.changed.notify_waiters();
    }
}

impl Drop for RecvHalf {
    fn drop(&mut self) {
        self.stop(CloseReason::Done);
        self.handle.drop_half(self.stream);
    }
}
