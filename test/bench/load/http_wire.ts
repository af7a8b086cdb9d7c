/** HTTP/1.1 with keep-alive: one POST a message to the ingest route, 202 is its acknowledgement. */
import { bodyTemplate } from "./payload.ts";
import { concatBytes, type MessageTemplate, type Wire } from "./wire.ts";

const ENCODER = new TextEncoder();
const LATIN1 = new TextDecoder("latin1");
const ACCEPTED = "202";

export const httpWire: Wire = {
  template(device): MessageTemplate {
    const body = bodyTemplate();
    const credentials = btoa(`${device.product}/${device.device}:${device.secret}`);
    const head = ENCODER.encode(
      `POST /ingest/v1/${device.product}/${device.device}/properties HTTP/1.1\r\n` +
        `Host: localhost\r\nAuthorization: Basic ${credentials}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n`,
    );
    return { bytes: concatBytes([head, body]), bodyAt: head.length };
  },

  stamp() {},

  read(bytes, length, sink) {
    let at = 0;
    while (at < length) {
      const bodyAt = headEnd(bytes, at, length);
      if (bodyAt === undefined) break;
      const head = LATIN1.decode(bytes.subarray(at, bodyAt));
      const size = /\r\ncontent-length: *(\d+)/i.exec(head)?.[1];
      if (size === undefined) throw new Error(`Cannot read an answer without a length: ${head}`);
      if (bodyAt + Number(size) > length) break;
      const status = head.slice(9, 12);
      if (status === ACCEPTED) sink.acknowledged(0);
      else sink.rejected(`http_${status}`);
      at = bodyAt + Number(size);
    }
    return at;
  },
};

export function headEnd(bytes: Uint8Array, from: number, length: number): number | undefined {
  for (
    let at = bytes.indexOf(13, from);
    at >= 0 && at + 4 <= length;
    at = bytes.indexOf(13, at + 1)
  ) {
    if (bytes[at + 1] === 10 && bytes[at + 2] === 13 && bytes[at + 3] === 10) return at + 4;
  }
  return undefined;
}
