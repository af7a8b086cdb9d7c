/**
 * The message of the bench: JSON of about 150 B with three properties of fixed width, so that a
 * message costs the generator a copy and 22 patched bytes. Two values walk like slow sensors with
 * three decimals, the third is a sequence number that makes each message of a device unique.
 */
export const TEMPERATURE = "gearbox_drive_end_bearing_temperature_celsius";
export const VIBRATION = "gearbox_drive_end_vibration_velocity_rms_mm_per_second";
export const SEQUENCE = "seq";
export const POINTS_PER_MESSAGE = 3;
/** Sequence numbers have ten digits and fit 32 bits: JSON allows no leading zeros. */
export const SEQUENCE_MIN = 1_000_000_000;

const VALUE_WIDTH = 6;
const SEQUENCE_WIDTH = 10;
const TEMPLATE = `{"${TEMPERATURE}": 10.000, "${VIBRATION}": 10.000, "${SEQUENCE}": 1000000000}`;
const BODY = new TextEncoder().encode(TEMPLATE);
const TEMPERATURE_AT = TEMPLATE.indexOf("10.000");
const VIBRATION_AT = TEMPLATE.lastIndexOf("10.000");
const SEQUENCE_AT = TEMPLATE.indexOf("1000000000");

export const BODY_BYTES = BODY.length;

/** One device's signals, in thousandths, each staying in 10.000 to 99.999. */
export class Signals {
  #temperature: number;
  #vibration: number;
  #state: number;

  constructor(device: number) {
    this.#state = (device * 2_654_435_761 + 12_345) >>> 0;
    this.#temperature = 40_000 + this.#state % 30_000;
    this.#vibration = 12_000 + this.#state % 7_000;
  }

  /** Writes the next message at `at` of `target`, whose bytes there are `BODY` already. */
  write(target: Uint8Array, at: number, sequence: number): void {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0;
    this.#temperature = walked(this.#temperature, (this.#state >>> 16) % 41 - 20);
    this.#vibration = walked(this.#vibration, (this.#state >>> 8) % 301 - 150);
    writeThousandths(target, at + TEMPERATURE_AT, this.#temperature);
    writeThousandths(target, at + VIBRATION_AT, this.#vibration);
    writeDigits(target, at + SEQUENCE_AT, sequence, SEQUENCE_WIDTH);
  }
}

/** A fresh copy of the message with placeholder values. */
export function bodyTemplate(): Uint8Array<ArrayBuffer> {
  return BODY.slice();
}

function walked(value: number, step: number): number {
  const next = value + step;
  return next < 10_000 || next > 99_999 ? value : next;
}

function writeThousandths(target: Uint8Array, at: number, value: number): void {
  const whole = (value / 1_000) | 0;
  writeDigits(target, at, whole, 2);
  writeDigits(target, at + VALUE_WIDTH - 3, value - whole * 1_000, 3);
}

function writeDigits(target: Uint8Array, at: number, value: number, width: number): void {
  let rest = value;
  for (let i = at + width - 1; i >= at; i--) {
    const next = Math.floor(rest / 10);
    target[i] = 48 + rest - next * 10;
    rest = next;
  }
}
