/** What counts as one peer where peers are bounded: their networks, since addresses come by the billion. */

/** Leading 16-bit groups of an IPv6 address that one customer usually has to itself: a /64. */
const NETWORK_GROUPS = 4;
const GROUPS = 8;

/**
 * The network of an address, as a key for bounds by address: an IPv4 address itself, also where it is
 * mapped into IPv6 in any spelling; the /64 of an IPv6 address. Anything else is its own network.
 * @param address As sockets tell it, perhaps with a zone: `192.0.2.1`, `2001:db8::1`, `fe80::1%eth0`.
 */
export function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const groups = groupsOf(address);
  if (groups === undefined) return address;
  const isMapped = groups[5] === 0xffff && groups.slice(0, 5).every((group) => group === 0);
  if (isMapped) return [groups[6]!, groups[7]!].flatMap((two) => [two >> 8, two & 255]).join(".");
  const prefix = groups.slice(0, NETWORK_GROUPS).map((group) => group.toString(16));
  return `${prefix.join(":")}::/64`;
}

/** The eight groups of an IPv6 address; undefined if it is none. */
function groupsOf(address: string): number[] | undefined {
  const [head, tail, ...more] = address.split("%", 1)[0]!.split("::");
  if (head === undefined || more.length > 0) return undefined;
  const first = partsOf(head);
  if (tail === undefined) return first?.length === GROUPS ? first : undefined;
  const last = partsOf(tail);
  if (first === undefined || last === undefined) return undefined;
  const zeros = GROUPS - first.length - last.length;
  return zeros < 1 ? undefined : [...first, ...new Array<number>(zeros).fill(0), ...last];
}

function partsOf(text: string): number[] | undefined {
  const groups: number[] = [];
  if (text === "") return groups;
  for (const part of text.split(":")) {
    const dotted = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(part);
    if (dotted !== null) {
      const bytes = dotted.slice(1).map(Number);
      if (bytes.some((byte) => byte > 255)) return undefined;
      groups.push(bytes[0]! << 8 | bytes[1]!, bytes[2]! << 8 | bytes[3]!);
    } else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(parseInt(part, 16));
    else return undefined;
  }
  return groups;
}
