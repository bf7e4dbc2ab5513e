//! Every stable error code, with its class and the three sentences that explain it.
//!
//! One table for API problems, source states and the command line alike; each code has a page in `docs/errors/`.
//! Texts hold no SQL, host or secret. Names that the protocol gives are kept to the letter.

use std::fmt;

use serde::{Serialize, Serializer};

/// Who can do something about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// It may pass by itself: try again.
    Transient,
    /// A person who runs the system must act.
    Operator,
    /// The caller asked for something that cannot be.
    Caller,
    /// We are wrong.
    Bug,
}

macro_rules! codes {
    ($($variant:ident $name:literal $class:ident $title:literal $hint:literal;)*) => {
        /// A stable error code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &[Code] = &[$(Code::$variant,)*];

            /// Returns the code as it is written everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// Returns who can do something about it.
            pub const fn class(self) -> Class {
                match self { $(Code::$variant => Class::$class,)* }
            }

            /// Returns what happened, as a short fact.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title,)* }
            }

            /// Returns what to do, and whether data is safe.
            pub const fn hint(self) -> &'static str {
                match self { $(Code::$variant => $hint,)* }
            }
        }
    };
}

codes! {
    // Capture: reasons of a source's state (CAP-03).
    SourceUnreachable "SOURCE_UNREACHABLE" Transient "the database cannot be reached" "Data is safe: changes wait in the database's log. Check host, port and network; connecting is tried again by itself.";
    AuthFailed "AUTH_FAILED" Operator "the database refused the login" "Data is safe. Check user and password of the connection URL, and the server's pg_hba.conf.";
    TlsFailed "TLS_FAILED" Operator "the TLS connection to the database failed" "Data is safe; nothing was sent in the clear. Check sslmode, sslrootcert and the server's certificate.";
    WalLevel "WAL_LEVEL" Operator "the database does not write a logical log" "Nothing is lost. Run: alter system set wal_level = logical; then restart the server.";
    Permission "PERMISSION" Operator "the database role lacks a privilege" "Nothing is lost. Grant what the detail names; `antiphon doctor` prints the statement.";
    SlotMissing "SLOT_MISSING" Operator "the replication slot is gone" "Rows in the database are safe, but changes since the last checkpoint may be missing from the log. Find out who dropped it; then `antiphon resync` starts anew and tells every client to list again.";
    SlotMissingAfterFailover "SLOT_MISSING_AFTER_FAILOVER" Operator "the server that took over has no replication slot of ours" "Rows in the database are safe, but changes since the last checkpoint may be missing from the log, so nothing was begun anew. `antiphon resync` starts anew and tells every client to list again; edits that wait on devices are kept. From Postgres 17 on, `antiphon doctor` says how slots are carried over to standbys.";
    SlotLost "SLOT_LOST" Operator "the server removed log that the slot still needed" "Rows in the database are safe, but changes are missing from the log. Raise max_slot_wal_keep_size; then `antiphon resync` starts anew and tells every client to list again.";
    SlotInUse "SLOT_IN_USE" Transient "another connection uses the replication slot" "Data is safe. The other connection's process id is in the detail; this server waits and takes over when it ends.";
    SlotWaits "SLOT_WAITS" Transient "capture begins once open transactions have ended" "Nothing is lost; capture begins by itself, and lists are refused until then. `antiphon doctor` shows whom it waits for; end that transaction if it was forgotten.";
    SlotForeign "SLOT_FOREIGN" Operator "the slot's name is taken by another plugin or database" "Nothing was changed. Choose another name with `slot` in the section [database].";
    SlotAdvanced "SLOT_ADVANCED" Operator "someone else moved the replication slot forward" "Rows in the database are safe, but changes in between are missing from the log. `antiphon resync` starts anew and tells every client to list again.";
    SlotsExhausted "SLOTS_EXHAUSTED" Operator "the server has no free replication slot or sender" "Nothing is lost. Raise max_replication_slots or max_wal_senders, or drop a slot that nobody uses (`antiphon slots list`).";
    PublicationChanged "PUBLICATION_CHANGED" Operator "the publication is gone or lost tables" "Rows in the database are safe; changes of the tables named may be missing. `antiphon entities add` puts them back; then `antiphon resync` starts anew and tells every client to list again.";
    SourceReplaced "SOURCE_REPLACED" Operator "this is not the database that was captured before" "Nothing was changed. If that is intended, `antiphon resync` starts anew and tells every client to list again.";
    SourceForked "SOURCE_FORKED" Operator "the database's history does not contain the checkpoint" "Nothing was changed. A standby was promoted, or a backup restored, without changes that were captured already; clients still show them. If the right server still runs, point the connection URL at it; else `antiphon resync` starts anew from what this one holds; edits that wait on devices are kept.";
    SourceRestored "SOURCE_RESTORED" Operator "the database went back to an earlier state" "Nothing was changed. The server was restored from a backup and lacks changes that were captured already; clients still show them. `antiphon resync` starts anew from what the database holds now; edits that wait on devices are kept.";
    StandbyWaits "STANDBY_WAITS" Transient "the server holds changes back until a standby has them" "Nothing is lost: changes wait in the database's log and come as soon as the standby has them. Start the standby that the detail names; one that is gone for good is taken out of `synchronized_standby_slots`, as the detail shows.";
    InRecovery "IN_RECOVERY" Operator "the database is a standby" "Nothing is lost. Point the connection URL at the primary.";
    PoisonWal "POISON_WAL" Operator "the server cannot decode a record of its log" "Data is safe in the database. The detail holds the server's message; `antiphon resync` skips it and tells every client to list again.";
    PoolerRefused "POOLER_REFUSED" Operator "a connection pooler refuses replication" "Nothing is lost. Use the server's direct address in the connection URL.";
    DiskFull "DISK_FULL" Operator "there is no space left on a disk" "What was acknowledged is safe; capture holds and goes on by itself once there is space.";
    SpoolFull "SPOOL_FULL" Operator "a transaction is larger than the spool's quota" "Data is safe in the database's log. Raise `spool_bytes_max` in the section [database].";
    DecodeFailed "DECODE_FAILED" Bug "the replication stream could not be understood" "Data is safe: capture stops before it and acknowledges nothing. Please report the detail.";
    TableWithoutIdentity "TABLE_WITHOUT_IDENTITY" Operator "a table has no replica identity that capture can use" "Nothing was changed. Give it a primary key, or let `antiphon entities add` prepare it.";
    TableUnfit "TABLE_UNFIT" Operator "a declared table does not fit its declaration" "Nothing was changed. Correct the declaration or the table as the detail says.";
    Fenced "FENCED" Transient "another server has taken over capture" "Data is safe: this server stands by.";
    LeaseHeld "LEASE_HELD" Transient "another server captures this source" "Data is safe: this server stands by and takes over when the other one ends.";
    // Our own database.
    LogUnreachable "LOG_UNREACHABLE" Transient "our own database cannot be reached" "What was acknowledged is safe; capture holds and nothing is lost. Check `log_url`; connecting is tried again by itself.";
    LogNewer "LOG_NEWER" Operator "our tables belong to a newer version" "Nothing was changed. Use the newer binary.";
    LogOlder "LOG_OLDER" Operator "our tables belong to an older version" "Nothing was changed. Run `antiphon migrate`.";
    LogCorrupt "LOG_CORRUPT" Bug "our own tables contradict each other" "Nothing was changed. Please report the detail.";
    // Mirrors: the database that is written to.
    MirrorUnreachable "MIRROR_UNREACHABLE" Transient "a mirror's database cannot be reached" "Nothing is lost: the mirror stands where its cursor says and is tried again by itself. Check the mirror's `url`, and that the server runs.";
    MirrorInUse "MIRROR_IN_USE" Transient "another runner writes this mirror" "Nothing is lost: this one stands by and takes over when the other one ends.";
    MirrorPermission "MIRROR_PERMISSION" Operator "a mirror's role lacks a privilege" "Nothing is lost: the mirror holds at this place. Grant what the detail names; it goes on by itself.";
    MirrorDiskFull "MIRROR_DISK_FULL" Operator "the disk of a mirror's database is full" "Nothing is lost: the mirror holds at this place and goes on by itself once there is space.";
    MirrorConstraint "MIRROR_CONSTRAINT" Operator "a constraint of the mirror refuses a row" "Nothing is lost or skipped: the mirror holds before this transaction. Drop the constraint that the detail names, which the mirror did not make; it goes on by itself.";
    MirrorValue "MIRROR_VALUE" Operator "a column of the mirror cannot hold a value" "Nothing is lost or skipped: the mirror holds before this transaction. Give the column that the detail names the source's type; it goes on by itself.";
    MirrorTableUnfit "MIRROR_TABLE_UNFIT" Operator "a table of the mirror is not as the mirror left it" "Nothing is lost or skipped: the mirror holds before this transaction. Undo the change that the detail names, or drop the table: it is made and filled again.";
    MirrorForeign "MIRROR_FOREIGN" Operator "the mirror may not write there" "Nothing was changed. Give the mirror a database of its own, or drop or rename the table that the detail names.";
    // Reading (protocol 4).
    OffsetExpired "OFFSET_EXPIRED" Caller "the offset is older than the retained log" "Nothing is lost: list again, then stream from the list's offset.";
    EpochChanged "EPOCH_CHANGED" Caller "the offset belongs to another epoch" "Nothing is lost: list again, then stream from the list's offset.";
    OffsetInvalid "OFFSET_INVALID" Caller "the offset was never given out" "Nothing is lost: list again, then stream from the list's offset.";
    AccessChanged "ACCESS_CHANGED" Caller "what this reader may see has changed" "Nothing is lost: list again, then stream from the list's offset.";
    SchemaChanged "SCHEMA_CHANGED" Caller "the shape of an entity type has changed" "Nothing is lost: read the schema, then list again.";
    // Callers.
    Unauthenticated "UNAUTHENTICATED" Caller "there is no valid token" "Nothing was changed. Send `Authorization: Bearer <token>` with a token that has not expired.";
    TokenInUrl "TOKEN_IN_URL" Caller "a long-lived token must not be in a URL" "Nothing was changed. Send it in the header `Authorization`; then replace it, because URLs are logged.";
    NotAMember "NOT_A_MEMBER" Caller "the caller is no member of this organisation" "Nothing was changed. Ask an owner of the organisation for an invitation.";
    Forbidden "FORBIDDEN" Caller "the caller may not do this" "Nothing was changed.";
    NotFound "NOT_FOUND" Caller "there is nothing here" "Nothing was changed. Check the address.";
    EntityTypeUnknown "ENTITY_TYPE_UNKNOWN" Caller "the entity type is not declared" "Nothing was changed. GET .../schema lists the declared types.";
    ParameterUnknown "PARAMETER_UNKNOWN" Caller "a query parameter is not known" "Nothing was changed. The detail names it; /openapi.json lists those that are.";
    ParameterInvalid "PARAMETER_INVALID" Caller "a query parameter has an invalid value" "Nothing was changed. The detail names it and says what is valid.";
    BodyInvalid "BODY_INVALID" Caller "the body is not what this address takes" "Nothing was changed. The detail says where it is wrong.";
    BodyTooLarge "BODY_TOO_LARGE" Caller "the body is too large" "Nothing was changed.";
    MethodNotAllowed "METHOD_NOT_ALLOWED" Caller "this address does not take this method" "Nothing was changed. The header `Allow` lists those that it takes.";
    OriginRefused "ORIGIN_REFUSED" Caller "pages of this origin may not connect" "Nothing was changed. Add the origin to `allowed_origins` in the section [server].";
    TicketInvalid "TICKET_INVALID" Caller "the ticket is unknown, used or expired" "Nothing was changed. POST /v1/tickets gives a new one.";
    ScopeMissing "SCOPE_MISSING" Caller "the token's scopes do not allow this" "Nothing was changed. Use a token with the scope that the detail names.";
    // Writing (protocol 5).
    FieldConflict "FIELD_CONFLICT" Caller "someone else changed the field since it was read" "Nothing was changed. Settle the difference, then send the edit again with the server's id as expected one.";
    StreamBehind "STREAM_BEHIND" Caller "the client has not seen recent changes of these entities" "Nothing was changed. Read the stream up to the server's offset, then send the edit again.";
    EntityGone "ENTITY_GONE" Caller "the entity was deleted" "Nothing was changed. Its last row is in the list of deleted entities; creating it again brings it back.";
    AlreadyExists "ALREADY_EXISTS" Caller "an entity with this key exists" "Nothing was changed. Edit that entity, or create one under another key.";
    Constraint "CONSTRAINT" Caller "a rule of the database refuses the row" "Nothing was changed. The name of the constraint is in the answer.";
    FieldUnknown "FIELD_UNKNOWN" Caller "the entity type has no such field" "Nothing was changed. GET .../schema lists the fields.";
    FieldForbidden "FIELD_FORBIDDEN" Caller "the caller may not write this field, or not compare by it" "Nothing was changed. GET .../schema lists the fields that the caller may write, and those that lists filter and order by.";
    FieldType "TYPE" Caller "the value does not fit the field's type" "Nothing was changed. GET .../schema gives the type of each field.";
    Suppressed "SUPPRESSED" Caller "the database left the row as it was" "Nothing was changed. A rule or a trigger of the application withholds this write.";
    TooOldToProve "TOO_OLD_TO_PROVE" Caller "the edit is older than the records that would show whether it was applied" "Nothing was changed. Compare it with the present row and send it again under a new id.";
    ClockAhead "CLOCK_AHEAD" Caller "the client's clock is ahead of the server's" "Nothing was changed. Set the clock right, or take the server's time from the answer, and send the edit under a new id.";
    ClockBehind "CLOCK_BEHIND" Caller "the edit's id is not above the one that it expects" "Nothing was changed. Make a new id above the server's and send the edit again.";
    IdempotencyMismatch "IDEMPOTENCY_MISMATCH" Caller "this transaction id was used for another edit" "Nothing was changed. Send the edit under an id of its own.";
    Aborted "ABORTED" Caller "another edit of the same atomic batch was refused" "Nothing was changed. The answer names the edit that was refused.";
    RateLimited "RATE_LIMITED" Caller "there were too many requests" "Nothing was changed. Wait as long as the header `Retry-After` says.";
    Shutdown "SHUTDOWN" Transient "the server is stopping" "Nothing is lost: connect again; another server or the next start goes on from your offset.";
    TryAgain "TRY_AGAIN" Transient "the request could not be served just now" "Nothing was changed. Try again.";
    Internal "INTERNAL" Bug "the server made a mistake" "Nothing was changed by this request. Please report the request id.";
    // The local replica.
    ReplicaInUse "REPLICA_IN_USE" Caller "another process has this replica open" "Nothing was changed. Let the other process end, or stop it; a replica that nobody has open is free at once.";
    ReplicaDamaged "REPLICA_DAMAGED" Operator "the replica's file cannot be read" "Nothing was changed. `antiphon sync export` saves its outbox; then move the file away, and `antiphon sync import` takes the outbox over into a new one.";
    ReplicaNewer "REPLICA_NEWER" Operator "the replica's file belongs to a newer version" "Nothing was changed. Use the newer binary; `antiphon sync export` saves the outbox.";
    ReplicaForeign "REPLICA_FOREIGN" Caller "the replica belongs to another user, organisation or server" "Nothing was changed or sent. Use the token and the organisation that the replica was made with, or another file.";
    ReplicaCopied "REPLICA_COPIED" Operator "the replica's file is a copy" "Nothing was changed or sent. If the original is no longer used, `--adopt` goes on with this one; else `antiphon sync export` saves its outbox.";
    ReplicaEmpty "REPLICA_EMPTY" Caller "the replica has not been filled yet" "Nothing was changed. `antiphon sync once` brings the data here.";
    OutboxFull "OUTBOX_FULL" Caller "too many edits wait to be sent" "Nothing was changed. `antiphon sync once` sends them.";
    OutboxFileInvalid "OUTBOX_FILE_INVALID" Caller "the file does not hold an exported outbox" "Nothing was changed. `antiphon sync export` writes such files.";
    ServerUnreachable "SERVER_UNREACHABLE" Transient "the server does not answer" "Nothing is lost: edits wait in the replica. Check the address and the network, then try again.";
    // Command line and configuration.
    ConfigMissing "CONFIG_MISSING" Operator "there is no configuration" "Nothing was changed. Run `antiphon init`, or `antiphon dev` for a demonstration.";
    ConfigInvalid "CONFIG_INVALID" Operator "the configuration is not valid" "Nothing was changed. The detail names the key and says what is valid.";
    ConfigUnknownKey "CONFIG_UNKNOWN_KEY" Operator "the configuration has an unknown key" "Nothing was changed. The detail names the nearest known key.";
    PortInUse "PORT_IN_USE" Operator "the port is taken" "Nothing was changed. Stop the other program or choose another port with --port.";
    PostgresNotFound "POSTGRES_NOT_FOUND" Operator "there is no Postgres 15 or newer on this machine" "Nothing was changed. Install one, or name its folder with --postgres-bin.";
    PostgresStart "POSTGRES_START" Operator "the private Postgres did not start" "Its data folder was kept. The detail holds the end of its log.";
    Usage "USAGE" Caller "the command was not understood" "Nothing was changed. Try --help.";
    Interrupted "INTERRUPTED" Caller "interrupted" "What was done so far was kept; the same command goes on from there.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_upper_case_words() {
        let mut seen = std::collections::BTreeSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} stands twice");
            assert!(code.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
            assert!(!code.title().is_empty() && code.hint().ends_with('.'), "{code}");
        }
    }
}
