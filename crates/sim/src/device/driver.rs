//! What a device's machine wants, done by tasks of its process: requests, streams, saves; and what is looked at on the way.
//!
//! Law: an answer comes back through the device's one queue, or not at all once that life is over.

use antiphon_sync::client::{Client, Output, Request as Wish, Told};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Device, Shared};
use crate::{
    Kind, Open, People, Request,
    came::{Came, short},
};

/// The one stream that is open.
#[derive(Default)]
pub(super) struct Streams {
    open: Option<CancellationToken>,
}

impl Streams {
    fn open(&mut self, over: &CancellationToken) -> CancellationToken {
        self.close();
        let token = over.child_token();
        self.open = Some(token.clone());
        token
    }

    fn close(&mut self) {
        if let Some(token) = self.open.take() {
            token.cancel();
        }
    }
}

impl Device {
    pub(super) fn take(&self, came: Came) {
        self.say(|| came.say());
        {
            let mut shared = self.shared();
            shared.streaming = matches!(came, Came::Frame { .. });
            let cells = shared.client.iter().flat_map(|client| crate::coverage::of_client(client, &came.name()));
            cells.for_each(|cell| self.stage.recorder.reached(cell));
        }
        self.step(|client, now| came.hand(client, now));
    }

    pub(super) fn perform(&self, sender: &mpsc::Sender<Came>, over: &CancellationToken, streams: &mut Streams) {
        loop {
            let output = self.shared().client.as_mut().and_then(Client::poll);
            let Some(output) = output else { return };
            self.say(|| format!("wants {}", short(&format!("{output:?}"))));
            self.inspect(&output);
            match output {
                Output::Request { id, request } => self.ask(id, request, sender.clone(), over.clone()),
                // Its answer is not looked for, so what comes is ignored by its number.
                Output::Cancel { .. } => {}
                Output::Open { stream, offset, epoch, access } => {
                    let closed = streams.open(over);
                    let open = Open {
                        token: People::token(self.subject),
                        org: self.org.to_owned(),
                        offset: offset.to_string(),
                        epoch: u32::try_from(epoch).ok(),
                        access: Some(access),
                        types: None,
                    };
                    let (device, sender) = (self.clone(), sender.clone());
                    self.stage.simulation.start(self.process, async move {
                        device.read(stream, open, &sender, &closed).await;
                    });
                }
                Output::Close { .. } => streams.close(),
                Output::Save { token, fence, writes } => {
                    let writer = (0, self.shared().lives);
                    let written = self.storage.write(writer, fence, writes);
                    let (sender, over) = (sender.clone(), over.clone());
                    self.stage.simulation.start(self.process, async move {
                        let came = match written.await {
                            Ok(()) => Came::Saved { token },
                            Err(reason) => Came::NotSaved { token, reason },
                        };
                        if !over.is_cancelled() {
                            drop(sender.try_send(came));
                        }
                    });
                }
                // A device of one tab: nobody is there to hear it.
                Output::Claim { .. } | Output::Read { .. } | Output::Share { .. } => {}
                Output::Tell(told) => self.told(*told),
            }
        }
    }

    fn say(&self, line: impl FnOnce() -> String) {
        self.stage.simulation.say(|| format!("device {} {}", self.number, line()));
    }

    /// Looks at what the machine wants before it is done.
    fn inspect(&self, output: &Output) {
        let mut shared = self.shared();
        let Shared { client, watch, flight, words, streaming, .. } = &mut *shared;
        let Some(client) = client else { return };
        let wrong = match output {
            Output::Request { request: Wish::Mutations { body }, .. } => {
                let wrong = flight.handed(client, body, &self.storage);
                let twice = flight.is_used_twice();
                wrong.or_else(|| words.handed(client, body, &self.stage.database).filter(|_| !twice))
            }
            Output::Tell(told) => match &**told {
                Told::Rows(rows) => flight.rows(client, rows, &self.stage.database, *streaming),
                _ => None,
            },
            _ => None,
        };
        wrong.into_iter().for_each(|wrong| watch.complain(wrong));
    }

    fn ask(&self, id: u64, wish: Wish, sender: mpsc::Sender<Came>, over: CancellationToken) {
        let kind = match wish {
            Wish::Schema => Kind::Schema,
            Wish::List { entity_type, after, limit: _ } => Kind::List { entity_type, after, limit: 4 },
            Wish::Subset { entity_type, parameters, after, limit } => {
                Kind::Subset { entity_type, parameters, after, limit: limit.min(2) }
            }
            Wish::Ids { entity_type, ids } => Kind::Ids { entity_type, ids },
            Wish::Mutations { body } => Kind::Mutate { body },
        };
        let device = self.clone();
        self.stage.simulation.start(self.process, async move {
            let number = device.stage.simulation.tick();
            let token = People::token(device.subject);
            let request = Request { id: number, token, org: device.org.to_owned(), kind };
            let server = device.stage.server().clone();
            let offline = device.shared().offline;
            let answer = match (offline, device.poisoned(&request)) {
                (true, _) => None,
                (false, Some(answer)) => Some(answer),
                (false, None) => device.stage.network.request(device.number, &server, request).await,
            };
            let came = match answer {
                None => Came::NoAnswer { id },
                Some(answer) => Came::Answer {
                    id,
                    status: answer.status,
                    retry_after_ms: answer.retry_after_ms,
                    server_ms: Some(device.stage.simulation.clock().now_ms()),
                    body: answer.body,
                },
            };
            if !over.is_cancelled() {
                drop(sender.try_send(came));
            }
        });
    }

    async fn read(&self, stream: u64, open: Open, sender: &mpsc::Sender<Came>, closed: &CancellationToken) {
        let server = self.stage.server().clone();
        let offline = self.shared().offline;
        let opened = match offline {
            true => Err(None),
            false => self.stage.network.open(self.number, &server, open).await,
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
                if self.shared().offline {
                    break;
                }
                self.note(stream, &frame);
                let came = Came::Frame { stream, event: frame.event, data: frame.data };
                if closed.is_cancelled() || sender.send(came).await.is_err() {
                    return;
                }
            },
            Err(Some((410, body))) => {
                let came = Came::Frame { stream, event: "reset", data: body };
                drop(sender.try_send(came));
                return;
            }
            Err(refused) => status = refused.map(|(status, _)| status),
        }
        if !closed.is_cancelled() {
            drop(sender.try_send(Came::Ended { stream, status }));
        }
    }

    fn note(&self, stream: u64, frame: &crate::StreamFrame) {
        if frame.event != "change" {
            return;
        }
        let shown = crate::Shown {
            reader: self.number,
            stream: self.shared().lives << 32 | stream,
            subject: self.subject.to_owned(),
            org: self.org.to_owned(),
            sent_us: frame.sent_us,
            activity: serde_json::from_str(&frame.data).unwrap_or_default(),
        };
        self.stage.recorder.note(|history| history.shown.push(shown));
    }

    fn told(&self, told: Told) {
        let mut shared = self.shared();
        match told {
            Told::Saved(keys) => shared.watch.saved(keys),
            Told::Nonsense(what) => shared.watch.complain(format!("our own server was not understood: {what}")),
            Told::Decided(line) => {
                self.stage.simulation.say(|| format!("device {} notes {line:?}", self.number));
                shared.watch.decided(&line);
                shared.words.decided(&line);
            }
            _ => {}
        }
    }
}
