/** The thread of `startFlood`: the first message starts, the second ends and is answered. */
import type { FloodReport, FloodStart } from "./flood.ts";
import { MqttFlood, startHttpFlood } from "./flood.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<FloodStart | "stop">) => void) | null;
  postMessage(message: FloodReport | "started"): void;
};
let mqtt: MqttFlood[] = [];
let http: ReturnType<typeof startHttpFlood>[] = [];

scope.onmessage = async ({ data }) => {
  if (data !== "stop") {
    mqtt = data.mqtt.map((options) => new MqttFlood(options));
    http = data.http.devices.map((device) => startHttpFlood(data.http.url, device));
    scope.postMessage("started");
    return;
  }
  const claims = mqtt.map((flood) => ({ device: flood.device, acknowledged: flood.stop() }));
  const posted = await Promise.all(http.map((flood) => flood.stop()));
  scope.postMessage({
    claims: [...claims, ...posted],
    closed: mqtt.reduce((sum, flood) => sum + flood.closed, 0),
    refused: http.reduce((sum, flood) => sum + flood.refused, 0),
  });
};
