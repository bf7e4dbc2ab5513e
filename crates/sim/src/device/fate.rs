//! What befalls a device: its store is copied to another one, wiped, or written by a newer version (SY-52..55).
//!
//! Laws: whoever wipes a store loses what it held, and nobody else does; a store of a newer format is left as it is, and
//! its outbox can be read; two devices with one store both keep what each of them typed.

use antiphon_sync::client::Corrupt;

use super::Device;
use crate::{Answer, Kind, Request, storage::Storage};

impl Device {
    /// Makes a device whose store is at some moment a copy of another one's.
    pub(crate) fn twin(&self, number: u32) -> Device {
        let process = crate::ProcessId(number);
        let storage = Storage::new(&self.stage.simulation, 0);
        let clock = self.stage.simulation.clock().skewed(0);
        let stage = self.stage.clone();
        let shared = Device::shared_of(&stage, number, self.org);
        Device { stage, number, process, storage, clock, shared, ..*self }
    }

    /// Lives as a copy of another device from some moment on.
    pub(crate) async fn run_as_twin(self, of: Device) {
        let ms = self.stage.simulation.dice().between(5_000, 25_000);
        self.stage.simulation.clock().sleep_ms(ms).await;
        self.storage.copy(&of.storage);
        let entries = self.storage.keys();
        [&of, &self].into_iter().for_each(|device| device.shared().flight.copied(&entries));
        self.stage.network.count("device copied");
        self.run().await;
    }

    /// Some edits make whatever takes them fail, alone or with others in one request, until the world is mended.
    pub(super) fn poisoned(&self, request: &Request) -> Option<Answer> {
        let Kind::Mutate { body } = &request.kind else { return None };
        let (status, code) = match (body.contains("poison"), body.contains("malformed")) {
            (true, _) => (500, "INTERNAL"),
            (false, true) => (400, "BODY_INVALID"),
            (false, false) => return None,
        };
        if self.stage.over.is_cancelled() {
            return None;
        }
        self.stage.network.count("edit of poison");
        let body = serde_json::json!({ "code": code, "status": status }).to_string();
        Some(Answer { id: request.id, status, retry_after_ms: None, body })
    }

    /// The store is gone, and with it what was typed and not yet sent.
    pub(super) fn wipe(&self) {
        self.stage.network.count("device wiped");
        self.storage.wipe();
        self.shared().watch.wiped();
    }

    /// A newer version has been here, and is taken back: once its format is known, work goes on.
    pub(super) fn not_read(&self, corrupt: &Corrupt) {
        let mut shared = self.shared();
        let Corrupt::Newer { entries, .. } = corrupt else {
            return shared.watch.complain(format!("the store cannot be read: {corrupt:?}"));
        };
        self.stage.network.count("device of a newer format");
        let kept = self.storage.keys().len();
        if entries.len() != kept {
            shared.watch.complain(format!("a newer store has {kept} entries, and {} could be read", entries.len()));
        }
        self.storage.set_format(None);
    }
}
