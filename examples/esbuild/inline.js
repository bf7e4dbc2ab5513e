// Everything in one plain script, the core as well.
import { createClient } from "@antiphon/client/inline";

import { show } from "./show.js";

show(createClient, {});
