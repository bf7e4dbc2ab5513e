"use client";
// What an application imports from `@antiphon/react/ui`: each thing as a hook, and as a component over it.

export {
  type CaseField, type CaseKind, casesOf, type ConflictCase, type MergeText, type Pick, putTogether,
} from "./conflict-cases.js";
export { ConflictDialog, type ConflictDialogProps } from "./conflict-dialog.js";
export { type Choice, type DecidingNotice, type Draft } from "./deciding.js";
export { DevTools, type DevToolsProps } from "./dev-tools.js";
export { type Difference as TextDifference, differenceOf, type Run } from "./difference.js";
export { english } from "./messages-en.js";
export { german } from "./messages-de.js";
export { pseudoCatalogue, pseudoMessage } from "./messages-pseudo.js";
export { type Catalogue, type Message, type MessageKey, type Say, speaker } from "./messages.js";
export { type OutboxItem, itemsOf } from "./outbox-items.js";
export { OutboxScreen, type OutboxScreenProps } from "./outbox-screen.js";
export {
  type EditProps, type FieldOf, type FieldSlot, type ShowProps, type Ui, UiProvider, type UiSettings, useUi,
} from "./settings.js";
export { SignOutDialog, type SignOutDialogProps } from "./sign-out-dialog.js";
export { type BadgeAbout, type BadgeState, SyncBadge, type SyncBadgeProps, useSyncBadge } from "./sync-badge.js";
export { SyncBanner, type SyncBannerProps } from "./sync-banner.js";
export { type ConflictDialogState, useConflictDialog } from "./use-conflict-dialog.js";
export { type DevToolsOptions, type DevToolsState, type ToolEvent, useDevTools } from "./use-dev-tools.js";
export { editable, type OutboxImporting, type OutboxNotice, type OutboxScreenState, useOutboxScreen } from "./use-outbox-screen.js";
export { type SignOutOptions, type SignOutState, useSignOut } from "./use-sign-out.js";
export { phaseOf, type SyncBannerState, type SyncPhase, useSyncBanner } from "./use-sync-banner.js";
export { Difference, Value, ValueEditor } from "./values.js";
