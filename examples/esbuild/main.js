// The core as a file with a name of its own: esbuild gives its address.
import { createClient } from "@antiphon/client";
import wasm from "@antiphon/client/core_bg.wasm";

import { show } from "./show.js";

show(createClient, { wasm });
