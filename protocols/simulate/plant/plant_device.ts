/** A thing of the demo plant on its connection: reports, raises, answers calls, takes wishes. */
import type { Buffer } from "node:buffer";
import type { Clock } from "../../../runtime/clock.ts";
import type { Random } from "../../../runtime/random.ts";
import type { DeviceLogin, LinkTarget } from "../link.ts";
import { MESSAGE_ID_MAX, MqttLink } from "../mqtt_link.ts";
import type { CallResult, Thing } from "./thing.ts";

export interface PlantDeviceOptions {
  readonly login: DeviceLogin;
  readonly thing: Thing;
  readonly clock: Clock;
  readonly random: Random;
  /** Undefined: the gateway is not there now. */
  readonly target: () => LinkTarget | undefined;
  /** Whether it is in the registry and may connect. */
  readonly standing: () => Promise<"enabled" | "disabled" | "gone">;
  readonly onGone: (login: DeviceLogin) => void;
}

const STEP_MS = 2_000;
const BACKOFF_MS_FIRST = 250;
const BACKOFF_MS_MAX = 10_000;
/** Refusals in a row, after which a device with another secret than ours is somebody else's. */
const REFUSALS_MAX = 3;
/** Answers that are remembered: a call may come more than once. */
const ANSWERS_MAX = 100;
const UNANSWERED_MAX = 32;

export class PlantDevice {
  readonly #options: PlantDeviceOptions;
  readonly #answers = new Map<string, string>();
  #link: MqttLink | undefined;
  #isOpen = false;
  #isStopped = false;
  #unanswered = 0;
  #lastId = 0;
  #failures = 0;
  #refusals = 0;
  #steppedMs: number;
  #cancelConnect = () => {};
  #cancelStep = () => {};

  constructor(options: PlantDeviceOptions) {
    this.#options = options;
    this.#steppedMs = options.clock.monotonicMs();
    // Not all in the same moment.
    this.#stepAfter(options.random.fraction() * STEP_MS);
    this.#connect();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelConnect();
    this.#cancelStep();
    this.#link?.close();
  }

  #stepAfter(delayMs: number): void {
    this.#cancelStep = this.#options.clock.after(delayMs, () => {
      this.#step();
      this.#stepAfter(STEP_MS);
    });
  }

  /** What cannot be sent now is not kept: the next step says how things are then. */
  #step(): void {
    const { clock, thing } = this.#options;
    const nowMs = clock.monotonicMs();
    const { values, events } = thing.step(clock.nowMs(), (nowMs - this.#steppedMs) / 1_000);
    this.#steppedMs = nowMs;
    if (!this.#isOpen || this.#unanswered >= UNANSWERED_MAX) return;
    this.#publish("properties", JSON.stringify(values));
    for (const { event, output } of events) {
      this.#publish(`events/${event}`, JSON.stringify(output));
    }
  }

  #publish(topic: string, text: string): void {
    this.#lastId = this.#lastId % MESSAGE_ID_MAX + 1;
    this.#unanswered++;
    this.#link?.publish(topic, this.#lastId, text);
  }

  #connect(): void {
    const { clock, login, target } = this.#options;
    const found = target();
    if (found === undefined) return this.#connectLater();
    this.#link = new MqttLink({
      target: found,
      login,
      clock,
      subscriptions: ["services/+/+", "properties/set"],
      onMessage: (topic, payload) => this.#receive(topic, payload),
    }, {
      opened: () => {
        this.#isOpen = true;
        this.#failures = this.#refusals = 0;
      },
      acknowledged: () => void this.#unanswered--,
      refused: () => void this.#unanswered--,
      closed: (reason) => this.#closed(reason),
    });
  }

  #closed(reason: string | undefined): void {
    this.#isOpen = false;
    this.#link = undefined;
    this.#unanswered = 0;
    if (reason?.startsWith("connack") && ++this.#refusals >= REFUSALS_MAX) return this.#gone();
    this.#connectLater();
  }

  #connectLater(): void {
    if (this.#isStopped) return;
    const { clock, random } = this.#options;
    const backoffMs = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_FIRST * 2 ** this.#failures++);
    this.#cancelConnect = clock.after(backoffMs * (0.5 + random.fraction()), () => {
      void this.#connectIfWanted();
    });
  }

  /** One that was deleted or disabled does not knock: failed logins count against its address. */
  async #connectIfWanted(): Promise<void> {
    // A registry that is closing, say: looked at again.
    const standing = await this.#options.standing().catch(() => "disabled" as const);
    if (this.#isStopped) return;
    if (standing === "gone") return this.#gone();
    if (standing === "enabled") return this.#connect();
    this.#connectLater();
  }

  #gone(): void {
    this.stop();
    this.#options.onGone(this.#options.login);
  }

  #receive(topic: string, payload: Buffer): void {
    const [kind, service = "", callId = ""] = topic.split("/");
    const message = JSON.parse(String(payload)); // The platform's own, and JSON.
    if (topic === "properties/set") {
      this.#options.thing.desire(message.values ?? {});
    } else if (kind === "services" && callId !== "") {
      let answer = this.#answers.get(callId);
      if (answer === undefined) {
        const result: CallResult = this.#options.thing.call(service, message.input ?? {});
        answer = JSON.stringify(result);
        this.#answers.set(callId, answer);
        if (this.#answers.size > ANSWERS_MAX) {
          this.#answers.delete(this.#answers.keys().next().value!);
        }
      }
      this.#publish(`services/${service}/${callId}/reply`, answer);
    }
    this.#cancelStep();
    this.#stepAfter(0); // Whoever asked sees at once what it did.
  }
}
