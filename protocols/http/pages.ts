/** The document of the API as a page to read. No script, nothing fetched. */

interface Operation {
  readonly summary?: string;
  readonly description?: string;
  readonly tags?: readonly string[];
  readonly parameters?: readonly {
    readonly name: string;
    readonly in: string;
    readonly required?: boolean;
    readonly schema?: { readonly description?: string };
  }[];
  readonly requestBody?: { readonly content: Readonly<Record<string, Content>> };
  readonly responses: Readonly<
    Record<string, {
      readonly description: string;
      readonly content?: Readonly<Record<string, Content>>;
    }>
  >;
}

interface Content {
  readonly example?: unknown;
}

export interface DocumentView {
  readonly info: { readonly title: string; readonly description?: string };
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

const STYLE = `:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:56rem;margin:2rem auto;padding:0 1rem}
code,pre{font:14px/1.4 ui-monospace,monospace}
pre{overflow:auto;padding:.5rem;border:1px solid #8884}
h3{margin-top:2rem;border-top:1px solid #8884;padding-top:1rem}
dt{font-weight:600}dd{margin:0 0 .3rem 1rem}`;

export function docsPage(document: DocumentView): string {
  const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation }))
  );
  const tags = [...new Set(operations.map(({ operation }) => operation.tags?.[0] ?? ""))];
  const sections = tags.map((tag) => {
    const own = operations.filter(({ operation }) => operation.tags?.[0] === tag);
    return `<h2 id="${escape(tag)}">${escape(tag)}</h2>` +
      own.map(({ path, method, operation }) => section(path, method, operation)).join("");
  });
  const links = tags.map((tag) => `<a href="#${escape(tag)}">${escape(tag)}</a>`).join(" · ");
  const intro = `<h1>${escape(document.info.title)}: API</h1>` +
    `<p>${text(document.info.description ?? "")}</p><p>${links}</p>`;
  return page("Roost: API", intro + sections.join(""));
}

function section(path: string, method: string, operation: Operation): string {
  const parameters = (operation.parameters ?? []).map((parameter) =>
    `<dt><code>${escape(parameter.name)}</code> (${escape(parameter.in)}` +
    `${parameter.required ? ", required" : ""})</dt>` +
    `<dd>${text(parameter.schema?.description ?? "")}</dd>`
  );
  const responses = Object.entries(operation.responses).map(([status, response]) =>
    `<dt><code>${escape(status)}</code></dt><dd>${text(response.description)}</dd>` +
    (status < "300" ? example(response.content) : "")
  );
  return `<h3><code>${escape(method.toUpperCase())} ${escape(path)}</code></h3>` +
    `<p>${text(operation.summary ?? "")}. ${text(operation.description ?? "")}</p>` +
    (parameters.length === 0 ? "" : `<dl>${parameters.join("")}</dl>`) +
    (operation.requestBody === undefined
      ? ""
      : `<p>Body</p>` + example(operation.requestBody.content)) +
    `<dl>${responses.join("")}</dl>`;
}

function example(content: Readonly<Record<string, Content>> | undefined): string {
  const json = content?.["application/json"]?.example;
  if (json === undefined) return "";
  return `<pre>${escape(JSON.stringify(json, undefined, 2))}</pre>`;
}

/** Escaped, with `code` as code. */
function text(markdown: string): string {
  return escape(markdown).replaceAll(/`([^`]+)`/g, "<code>$1</code>").replaceAll("\n\n", "</p><p>");
}

function escape(plain: string): string {
  return plain.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

function page(title: string, body: string): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8">` +
    `<meta name="viewport" content="width=device-width"><title>${escape(title)}</title>` +
    `<style>${STYLE}</style></head><body>${body}</body></html>`;
}
