//! One tab of a browser: it lives, sleeps, closes or is killed, and is opened anew (SIM-01, CORE-16).
//!
//! Everything that its machine wants is done by tasks of the browser's process, in virtual time; answers come back through
//! one queue. Law: a tab that is gone hears nothing, but what it had begun to write may still be written.

use std::collections::BTreeMap;

use antiphon_sync::client::{
    Client, Config, Entry, EntryKey, Input, Loaded, Now, Output, Record, Request as Wish, Role, Told, Write,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Browser, Shared};
use crate::{
    Kind, Open, People, Request,
    came::{Came, short},
    typing::Pen,
};

/// Things that may wait for the machine; more than it ever asks for at once.
const QUEUE_MAX: usize = 4_096;

/// A place for a tab.
#[derive(Default)]
pub(super) struct Slot {
    pub(super) client: Option<Client>,
    pub(super) lives: u64,
    pub(super) source: String,
    pub(super) asleep: bool,
    pub(super) visible: bool,
    /// How the person types in it, where people do.
    pub(super) pen: Option<Pen>,
    /// The subscription of its present life.
    pub(super) wanted: Option<u64>,
    /// The outbox and the role before the present step.
    pub(super) before: (BTreeMap<EntryKey, Entry>, Option<Role>),
}

impl Slot {
    /// Tells whether what it wants is here.
    pub(super) fn is_complete(&self) -> bool {
        let query = self.client.as_ref().zip(self.wanted).and_then(|(client, number)| client.query(number));
        query.is_some_and(|query| query.complete)
    }

    /// Tells whether its tab is there and awake.
    pub(super) fn is_up(&self) -> bool {
        self.client.is_some() && !self.asleep
    }
}

/// What ends a tab's turn.
pub(super) enum Fate {
    GoesOn,
    /// It sleeps for so long, in milliseconds.
    Sleeps(u64),
    /// It is closed, and has a last word.
    Closes,
    /// It is gone.
    Dies,
}

/// A tab at work; cheap to clone.
#[derive(Clone)]
pub(super) struct Tab {
    pub(super) browser: Browser,
    pub(super) at: usize,
}

impl Tab {
    pub(super) fn new(browser: Browser, at: usize) -> Tab {
        Tab { browser, at }
    }

    /// Lives until the end, again and again.
    pub(super) async fn run(self) {
        let mut rest_ms = if self.at == 0 { 0 } else { self.browser.stage.simulation.dice().below(15_000) };
        loop {
            // Once all is mended every tab is opened.
            tokio::select! {
                biased;
                () = self.browser.stage.simulation.clock().sleep_ms(rest_ms) => {}
                () = self.browser.stage.over.cancelled() => {}
            }
            self.live().await;
            rest_ms = self.browser.stage.simulation.dice().below(6_000);
        }
    }

    async fn live(&self) {
        let (sender, mut queue) = mpsc::channel(QUEUE_MAX);
        let over = CancellationToken::new();
        let (stage, dice) = (&self.browser.stage, self.browser.stage.simulation.dice().clone());
        self.browser.channel.listen(self.at, sender.clone());
        self.begin();
        let mut stream = None;
        let mut act_at_ms = self.now().tick_ms + dice.between(20, 3_000);
        let mut mended = false;
        loop {
            self.perform(&sender, &over, &mut stream);
            let now = self.now();
            let wake = self.browser.shared().slots[self.at].client.as_ref().and_then(|client| client.wake_at_ms(now));
            let idle_ms = wake.map_or(60_000, |at_ms| at_ms.saturating_sub(now.tick_ms).clamp(1, 60_000));
            let busy = !stage.over.is_cancelled();
            if !busy && !mended {
                mended = true;
                self.calm();
            }
            let act_ms = act_at_ms.saturating_sub(now.tick_ms);
            let type_ms = self.types_in_ms(now).filter(|_| busy);
            tokio::select! {
                biased;
                came = queue.recv() => if let Some(came) = came { self.take(came) },
                () = stage.simulation.clock().sleep_ms(idle_ms) => {
                    self.step(false, |client, now| client.handle(now, Input::Tick));
                }
                () = stage.simulation.clock().sleep_ms(act_ms), if busy => {
                    act_at_ms = self.now().tick_ms + dice.between(20, 3_000);
                    match self.act() {
                        Fate::GoesOn => {}
                        Fate::Sleeps(ms) => self.sleep(ms).await,
                        fate => return self.end(fate, &sender, &over, &mut stream),
                    }
                }
                () = stage.simulation.clock().sleep_ms(type_ms.unwrap_or_default()), if type_ms.is_some() => {
                    if self.type_on() {
                        return self.end(Fate::Dies, &sender, &over, &mut stream);
                    }
                }
                () = stage.over.cancelled(), if busy => {}
            }
        }
    }

    /// Starts from the store: as whoever leads, where no other tab is there, else as one that follows.
    fn begin(&self) {
        let dice = self.browser.stage.simulation.dice().clone();
        let mut shared = self.browser.shared();
        let others: Vec<String> =
            shared.slots.iter().filter(|slot| slot.client.is_some()).map(|slot| slot.source.clone()).collect();
        let copied = dice.pick(&others).filter(|_| dice.permille(150)).cloned();
        if copied.is_some() {
            self.browser.stage.network.count("tab copied");
            shared.copied = true;
        }
        let slot = &mut shared.slots[self.at];
        slot.lives += 1;
        slot.source = copied.unwrap_or_else(|| format!("b{}-{}-{}", self.browser.number, self.at, slot.lives));
        let source = slot.source.clone();
        let config = Config {
            source,
            seed: dice.below(u64::MAX),
            delete_asks: !self.browser.number.is_multiple_of(3),
            subsets_bytes_max: 4_096,
        };
        let (fence, records) = match others.is_empty() {
            true => {
                let (fence, records) = self.browser.storage.take();
                (Some(fence), records)
            }
            false => (None, self.browser.storage.records()),
        };
        match Client::new(config, Loaded { records }) {
            Ok(mut client) => {
                self.browser.stage.law.into_iter().for_each(|law| client.break_law(law));
                slot.client = Some(client);
            }
            Err(corrupt) => shared.book.complain(format!("the store cannot be read: {corrupt:?}")),
        }
        shared.slots[self.at].visible = true;
        drop(shared);
        let input = fence.map_or(Input::Tick, |fence| Input::Lead { fence });
        self.step(false, |client, now| client.handle(now, input));
        let number = self.step(false, |client, now| client.subscribe(now, super::wanted(self.at)));
        self.browser.shared().slots[self.at].wanted = number.and_then(Result::ok);
    }

    /// The tab is gone; where it closes it says so.
    fn end(
        &self,
        fate: Fate,
        sender: &mpsc::Sender<Came>,
        over: &CancellationToken,
        stream: &mut Option<CancellationToken>,
    ) {
        if matches!(fate, Fate::Closes) {
            self.step(false, |client, now| client.handle(now, Input::Follow));
            self.perform(sender, over, stream);
        }
        over.cancel();
        self.browser.channel.leave(self.at);
        let mut shared = self.browser.shared();
        let Shared { slots, book, reached, words, .. } = &mut *shared;
        let slot = &mut slots[self.at];
        if let Some(client) = slot.client.take() {
            for (cell, count) in client.reached_roles() {
                *reached.entry(*cell).or_default() += count;
            }
            book.died(&client, &self.browser.storage);
            words.tab_died(self.at, &self.browser.storage);
        }
    }

    async fn sleep(&self, ms: u64) {
        self.browser.stage.network.count("tab slept");
        self.browser.shared().slots[self.at].asleep = true;
        self.browser.channel.sleep(self.at, true);
        self.browser.stage.rest(ms).await;
        self.browser.channel.sleep(self.at, false);
        self.browser.shared().slots[self.at].asleep = false;
    }

    /// The world is mended: the network is there, the disk takes what it is given, and the tab can be seen.
    fn calm(&self) {
        self.browser.shared().offline = false;
        self.browser.storage.fill(false);
        self.show(true);
    }

    pub(super) fn show(&self, visible: bool) {
        self.browser.shared().slots[self.at].visible = visible;
        self.step(false, |client, now| client.handle(now, Input::Visible { visible }));
    }

    /// Lets the machine step, and looks at what the person sees before and after.
    pub(super) fn step<T>(&self, person: bool, step: impl FnOnce(&mut Client, Now) -> T) -> Option<T> {
        let now = self.now();
        let mut shared = self.browser.shared();
        let Shared { slots, book, .. } = &mut *shared;
        let Slot { client, before, .. } = &mut slots[self.at];
        let client = client.as_mut()?;
        let entries = client.outbox().iter().map(|entry| (entry.key.clone(), entry.clone())).collect();
        *before = (entries, Some(client.role()));
        let result = step(client, now);
        book.after(client, before, person);
        Some(result)
    }

    fn take(&self, came: Came) {
        self.say(|| came.say());
        self.step(false, |client, now| came.hand(client, now));
    }

    /// Looks at what is removed: an edit that another tab added may end in the very step in which it is taken in.
    fn look_at(&self, writes: &[Write]) {
        let mut shared = self.browser.shared();
        let Shared { slots, book, .. } = &mut *shared;
        let Some(client) = &slots[self.at].client else { return };
        for write in writes {
            if let Write::Remove(Record::Entry(key)) = write
                && let Some(entry) = self.browser.storage.entry(key)
            {
                book.removed(client, &entry);
            }
        }
    }

    fn perform(&self, sender: &mpsc::Sender<Came>, over: &CancellationToken, stream: &mut Option<CancellationToken>) {
        loop {
            let output = self.browser.shared().slots[self.at].client.as_mut().and_then(Client::poll);
            let Some(output) = output else { return };
            self.say(|| format!("wants {}", short(&format!("{output:?}"))));
            match output {
                Output::Request { id, request } => {
                    self.look_at_words(&request);
                    self.spawn(sender, over, self.clone().ask(id, request));
                }
                // Its answer is not looked for, so what comes is ignored by its number.
                Output::Cancel { .. } => {}
                Output::Open { stream: number, offset, epoch, access } => {
                    if let Some(former) = stream.take() {
                        former.cancel();
                    }
                    let closed = over.child_token();
                    *stream = Some(closed.clone());
                    let open = self.open(offset, epoch, access);
                    let (tab, sender) = (self.clone(), sender.clone());
                    self.browser.stage.simulation.start(self.browser.process, async move {
                        tab.read(number, open, &sender, &closed).await;
                    });
                }
                Output::Close { .. } => drop(stream.take().map(|closed| closed.cancel())),
                Output::Save { token, fence, writes } => {
                    self.look_at(&writes);
                    let written = self.browser.storage.write(self.writer(), fence, writes);
                    self.spawn(sender, over, async move {
                        match written.await {
                            Ok(()) => Came::Saved { token },
                            Err(reason) => Came::NotSaved { token, reason },
                        }
                    });
                }
                Output::Claim { beyond } => {
                    let storage = self.browser.storage.clone();
                    self.spawn(sender, over, async move {
                        let (fence, won) = storage.claim(beyond).await;
                        Came::Claimed { fence, won }
                    });
                }
                Output::Read { token, all } => {
                    let storage = self.browser.storage.clone();
                    self.spawn(sender, over, async move { Came::Read { token, records: storage.read(all).await } });
                }
                Output::Share { message } => self.browser.channel.say(self.at, &message),
                Output::Tell(told) => self.told(*told),
            }
        }
    }

    pub(super) fn say(&self, line: impl FnOnce() -> String) {
        let role = || self.browser.shared().slots[self.at].client.as_ref().map(Client::role);
        let (number, at) = (self.browser.number, self.at);
        self.browser.stage.simulation.say(|| format!("browser {number} tab {at} {:?}: {}", role(), line()));
    }

    fn writer(&self) -> (usize, u64) {
        (self.at, self.browser.shared().slots[self.at].lives)
    }

    /// Does something in the background; what comes of it reaches the machine while the tab is there.
    fn spawn(
        &self,
        sender: &mpsc::Sender<Came>,
        over: &CancellationToken,
        work: impl Future<Output = Came> + Send + 'static,
    ) {
        let (sender, over) = (sender.clone(), over.clone());
        self.browser.stage.simulation.start(self.browser.process, async move {
            let came = work.await;
            if !over.is_cancelled() {
                // A full queue is a bug that the settling finds.
                drop(sender.try_send(came));
            }
        });
    }

    async fn ask(self, id: u64, wish: Wish) -> Came {
        let kind = match wish {
            Wish::Schema => Kind::Schema,
            Wish::List { entity_type, after, limit: _ } => Kind::List { entity_type, after, limit: 4 },
            Wish::Subset { entity_type, parameters, after, limit } => {
                Kind::Subset { entity_type, parameters, after, limit: limit.min(2) }
            }
            Wish::Ids { entity_type, ids } => Kind::Ids { entity_type, ids },
            Wish::Mutations { body } => Kind::Mutate { body },
        };
        let stage = &self.browser.stage;
        let token = People::token(self.browser.subject);
        let request = Request { id: stage.simulation.tick(), token, org: self.browser.org.to_owned(), kind };
        let server = stage.server().clone();
        let offline = self.browser.shared().offline;
        let answer = match offline {
            true => None,
            false => stage.network.request(self.browser.number, &server, request).await,
        };
        match answer {
            None => Came::NoAnswer { id },
            Some(answer) => Came::Answer {
                id,
                status: answer.status,
                retry_after_ms: answer.retry_after_ms,
                server_ms: Some(stage.simulation.clock().now_ms()),
                body: answer.body,
            },
        }
    }

    fn open(&self, offset: u64, epoch: u64, access: String) -> Open {
        Open {
            token: People::token(self.browser.subject),
            org: self.browser.org.to_owned(),
            offset: offset.to_string(),
            epoch: u32::try_from(epoch).ok(),
            access: Some(access),
            types: None,
        }
    }

    async fn read(&self, stream: u64, open: Open, sender: &mpsc::Sender<Came>, closed: &CancellationToken) {
        let server = self.browser.stage.server().clone();
        let offline = self.browser.shared().offline;
        let opened = match offline {
            true => Err(None),
            false => self.browser.stage.network.open(self.browser.number, &server, open).await,
        };
        let mut status = None;
        match opened {
            Ok(mut end) => loop {
                let frame = tokio::select! {
                    biased;
                    () = closed.cancelled() => return,
                    frame = end.next() => frame,
                };
                let Some(frame) = frame else { break };
                if self.browser.shared().offline {
                    break;
                }
                let came = Came::Frame { stream, event: frame.event, data: frame.data };
                if closed.is_cancelled() || sender.send(came).await.is_err() {
                    return;
                }
            },
            Err(Some((410, body))) => {
                drop(sender.try_send(Came::Frame { stream, event: "reset", data: body }));
                return;
            }
            Err(refused) => status = refused.map(|(status, _)| status),
        }
        if !closed.is_cancelled() {
            drop(sender.try_send(Came::Ended { stream, status }));
        }
    }

    fn told(&self, told: Told) {
        if let Told::Decided(line) = &told {
            self.say(|| format!("notes {line:?}"));
        }
        let mut shared = self.browser.shared();
        match told {
            Told::Saved(keys) => shared.book.saved(keys),
            Told::Nonsense(what) => shared.book.complain(format!("our own words were not understood: {what}")),
            Told::Decided(line) => {
                shared.book.decided(&line);
                shared.words.decided(&line);
            }
            _ => {}
        }
    }

    fn now(&self) -> Now {
        let tick_ms = self.browser.stage.simulation.clock().elapsed_us() / 1_000;
        Now { wall_ms: self.browser.clock.now_ms(), tick_ms }
    }
}
