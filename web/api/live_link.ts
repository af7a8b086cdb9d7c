/** A page's way to the live feed: over the worker that all pages share, or by itself without one. */
import { type LiveMessage, type LiveRequest, LiveShare, type LiveSink } from "./live_share.ts";

export type LiveLink = (request: LiveRequest) => void;

/** @param onFailed There is no worker after all: all that was asked of it is to be asked anew. */
export function openLink(sink: LiveSink, onFailed: () => void): LiveLink {
  let link = typeof SharedWorker === "undefined" ? ownLink(sink) : undefined;
  if (link !== undefined) return link;
  // As the bundler knows workers by: it all stands in the call.
  const worker = new SharedWorker(new URL("./live_worker.ts", import.meta.url), {
    type: "module",
    name: "roost-live",
  });
  worker.port.onmessage = ({ data }: MessageEvent<LiveMessage>) => sink(data);
  worker.onerror = () => {
    link ??= ownLink(sink);
    onFailed();
  };
  return (request) => link === undefined ? worker.port.postMessage(request) : link(request);
}

function ownLink(sink: LiveSink): LiveLink {
  const share = new LiveShare();
  return (request) => share.take(sink, request);
}
