/** Commands that send a first value, ready to paste. */

export interface Login {
  readonly product: string;
  readonly device: string;
  readonly secret: string;
}

/** @param endpoints URLs by wire. @param pageHost Host that the person reaches the node by. */
export function mosquittoCommand(
  login: Login,
  endpoints: Readonly<Record<string, string>>,
  pageHost: string,
): string {
  const { host, port } = reached(endpoints.mqtt ?? "mqtt://127.0.0.1:1883", pageHost);
  const { product, device, secret } = login;
  return `mosquitto_pub -h ${host} -p ${port} -i ${quoted(device)} \\\n` +
    `  -u ${quoted(`${product}/${device}`)} -P ${quoted(secret)} -q 1 \\\n` +
    `  -t ${quoted(`v1/${product}/${device}/properties`)} -m '{"temperature": 21.5}'`;
}

export function curlCommand(login: Login, pageOrigin: string): string {
  const { product, device, secret } = login;
  return `curl -u ${quoted(`${product}/${device}:${secret}`)} \\\n` +
    `  -H 'content-type: application/json' -d '{"temperature": 21.6}' \\\n` +
    `  ${pageOrigin}/ingest/v1/${product}/${device}/properties`;
}

export function eventCommand(login: Login, pageOrigin: string): string {
  const { product, device, secret } = login;
  return `curl -u ${quoted(`${product}/${device}:${secret}`)} \\\n` +
    `  -H 'content-type: application/json' -d '{"celsius": 131}' \\\n` +
    `  ${pageOrigin}/ingest/v1/${product}/${device}/events/overheated`;
}

/** A node that names a loopback address is reached as the page is. */
function reached(url: string, pageHost: string): { host: string; port: string } {
  const [, host = "", port = ""] = /^\w+:\/\/(\[[^\]]+\]|[^:/]+):(\d+)/.exec(url) ?? [];
  const isLoopback = /^(?:127\.|localhost$|\[::1\])/.test(host);
  return { host: (isLoopback ? pageHost : host).replace(/^\[|\]$/g, ""), port };
}

/** For a shell: nothing in it is run. */
function quoted(text: string): string {
  return /^[\w./:-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
