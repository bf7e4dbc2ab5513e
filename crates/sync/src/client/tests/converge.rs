//! Two devices and an honest server: whatever is cut, lost, restarted or restored, all end with the same rows.
//!
//! Laws: once everything works again, what is left in an outbox waits for a person; rows are the server's; each addition
//! to a counter counted once. The simulator asks the same of many devices and of the server's own machines; this one is
//! small enough to shrink to the few steps that matter.

use proptest::prelude::*;
use serde_json::json;

use super::{super::*, Device, Server, note, object};

type Deed = (u8, bool, u8);

struct World {
    server: Server,
    devices: [Option<Device>; 2],
    added: i64,
    restarts: u32,
}

impl World {
    fn new() -> World {
        let mut server = Server::new();
        for id in ["1", "2"] {
            let row =
                json!({ "id": id, "title": "t", "body": "one two three", "rank": 1, "votes": 0, "labels": ["a"] });
            server.sql(id, row);
        }
        let mut world =
            World { server, devices: [Device::new("a"), Device::new("b")].map(Some), added: 0, restarts: 0 };
        for device in world.devices.iter_mut().flatten() {
            device.settle(&mut world.server);
        }
        world
    }

    fn deed(&mut self, (what, second, number): Deed) {
        let at = usize::from(second);
        let Some(mut device) = self.devices[at].take() else { return };
        let id = if number % 2 == 0 { "1" } else { "2" };
        match what % 18 {
            0 => device.offline(),
            1 | 2 => device.online = true,
            3 => device.lose_answers = number % 2 == 0,
            4 => self.server.mute = number % 2 == 0,
            5 => {
                self.restarts += 1;
                device = device.restart(&format!("r{}", self.restarts));
            }
            6 if self.server.rows.contains_key(id) => {
                self.server.sql(id, json!({ "title": format!("s{number}"), "rank": number }))
            }
            7 if number % 4 == 0 => self.server.restore_without_log(),
            8 => _ = device.client.undo(device.now),
            9 => self.add(&mut device, i64::from(number)),
            10 => _ = self.try_edit(&mut device, Edit::Delete { entity: note("2") }),
            11 => {
                let data = object(json!({ "id": "2", "title": format!("n{number}") }));
                // Whether there is such a row is the client's to say.
                if device.client.view(&note("2")).is_none() {
                    self.try_edit(&mut device, Edit::Create { entity: note("2"), data });
                }
            }
            12 => {
                let fields = object(json!({ "body": format!("one {number} three"), "rank": number }));
                self.try_edit(&mut device, Edit::Set { entity: note(id), fields });
            }
            13 => {
                let fields = object(json!({ "title": format!("m{number}") }));
                self.try_edit(&mut device, Edit::Set { entity: note(id), fields });
            }
            14 => {
                let add = vec![u64::from(number).into()];
                let edit = Edit::Elements { entity: note(id), field: "labels".into(), add, remove: vec!["a".into()] };
                self.try_edit(&mut device, edit);
            }
            15 if number % 8 == 1 && self.server.rows.contains_key("2") => self.server.sql_delete("2"),
            _ => device.pass(u64::from(number) * 100),
        }
        device.settle(&mut self.server);
        self.devices[at] = Some(device);
    }

    fn try_edit(&mut self, device: &mut Device, edit: Edit) -> bool {
        device.client.edit(device.now, edit).is_ok()
    }

    /// Row 1 is never deleted, so what is added to it stays; what is undone is added again with the other sign.
    fn add(&mut self, device: &mut Device, by: i64) {
        let edit = Edit::Add { entity: note("1"), field: "votes".into(), by: by.into() };
        if self.try_edit(device, edit) {
            self.added += by;
        }
    }

    fn heal(&mut self) {
        self.server.mute = false;
        for _ in 0..4 {
            for device in self.devices.iter_mut().flatten() {
                (device.online, device.lose_answers) = (true, false);
                device.run(&mut self.server);
            }
        }
    }

    fn check(&self, undone: bool) {
        for device in self.devices.iter().flatten() {
            let stuck = device.client.outbox().iter().find(|entry| {
                let for_a_person = matches!(entry.state, State::Conflicted | State::Failed);
                !for_a_person && device.client.waits(&entry.key).is_none()
            });
            assert!(stuck.is_none(), "{stuck:?}");
            let rows: Vec<_> =
                device.client.confirmed_rows("note").map(|(id, row)| (id, row.data.clone().into())).collect();
            let held: Vec<_> = self.server.rows.iter().map(|(id, (row, _))| (id, row.clone())).collect();
            assert_eq!(rows, held);
        }
        if !undone {
            assert_eq!(self.server.value("1", "votes"), Value::from(self.added), "each addition counts once");
        }
    }
}

proptest! {
    #[test]
    fn prop_all_end_with_the_same_rows_core_10_core_11_sy_29(deeds in proptest::collection::vec((any::<u8>(), any::<bool>(), any::<u8>()), 0..60)) {
        let mut world = World::new();
        let undone = deeds.iter().any(|(what, ..)| what % 18 == 8);
        for deed in deeds {
            world.deed(deed);
        }
        world.heal();
        world.check(undone);
    }
}
