// Antiphon behind the same origin, in development and with `vite preview`.
const antiphon = process.env.ANTIPHON ?? "http://127.0.0.1:7411";

export default {
  server: { proxy: { "/v1": { target: antiphon, ws: true }, "/dev/session": antiphon } },
};
