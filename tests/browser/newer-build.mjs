// A newer build as far as the device can tell: the same SDK over a store whose records are of format 2. It reads format 1,
// as every build reads the one before it.

const NEWER = 2;

/** A store like that on the device, for a build of the newer format. */
export function openNewer(antiphon) {
  return async (name) => {
    const store = await antiphon.openDeviceStore(name);
    return {
      place: "device",
      save: (fence, writes) => store.save(fence, writes.map((write) => ("put" in write ? { put: withFormat(write.put, NEWER) } : write))),
      claim: (beyond) => store.claim(beyond),
      read: async (all) => (await store.read(all)).map((record) => withFormat(record, 1)),
      destroy: () => store.destroy(),
      close: () => store.close(),
    };
  };
}

function withFormat([name, text], format) {
  const record = JSON.parse(text);
  if (!("format" in record)) return [name, text];
  return [name, JSON.stringify({ ...record, format })];
}
