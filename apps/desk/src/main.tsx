// Where Desk begins: who is signed in, then everything else; or, at `/try`, two windows of it.

import "./desk.css";
import "@antiphon/react/ui.css";

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { Desk } from "./desk.js";
import { heedInstalling } from "./install.js";
import { keepOffline } from "./release.js";
import { Speaking } from "./texts/speaking.js";
import { Telling } from "./telling.js";
import { Try } from "./try/try.js";

const place = document.querySelector("#desk");
const shown = location.pathname.startsWith("/try") ? <Try /> : <Desk />;
if (place) createRoot(place).render(<StrictMode><Speaking><Telling>{shown}</Telling></Speaking></StrictMode>);
heedInstalling();
void keepOffline();
