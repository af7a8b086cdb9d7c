/** The worker that holds the one connection of all pages of a browser. */
import { everyMs } from "../clock.ts";
import { FOLLOW_EVERY_MS, type LiveRequest, LiveShare } from "./live_share.ts";

/** What a shared worker's scope has of its own; the types here are those of pages. */
interface WorkerScope {
  onconnect: ((event: MessageEvent) => void) | null;
}

const share = new LiveShare();

(globalThis as unknown as WorkerScope).onconnect = ({ ports: [port] }) => {
  if (port === undefined) return;
  const sink = port.postMessage.bind(port);
  port.onmessage = ({ data }: MessageEvent<LiveRequest>) => share.take(sink, data);
};
everyMs(FOLLOW_EVERY_MS, () => share.prune());
