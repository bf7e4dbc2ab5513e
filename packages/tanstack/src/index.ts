// What an application imports.

export {
  type EditOptions, type ListOptions, type LiveOptions, LiveQueries, liveQueries, type LiveRow, type RowOptions,
} from "./queries.js";
