/**
 * The page at `/` until the console is built: says what goes on, and turns into the console as soon
 * as it is there. Its words stand here, since the console's dictionaries are not built yet.
 */
import type { BuildProgress } from "./build_progress.ts";

const WORDS = {
  en: {
    title: "Roost: the console is being prepared",
    heading: "Preparing the console",
    running: "Roost itself runs: devices and the API are served. The console is made once after " +
      "each change of its sources.",
    looking: "Looking for a build",
    installing: "Installing packages",
    bundling: "Bundling",
    compressing: "Compressing",
    ready: "Ready",
    failed: "The console could not be built",
    network:
      "Its packages could not be fetched. Connect this machine to a package registry, then " +
      "run the command below; this page goes on by itself.",
    disk: "Its files could not be written. Make room, or make the folder writable, then run the " +
      "command below; this page goes on by itself.",
    sources:
      "Its sources do not build. Undo local changes under web/, then run the command below; " +
      "this page goes on by itself.",
    disabled: "Builds at start are off (ROOST__CONSOLE__BUILD). Run the command below; this page " +
      "goes on by itself.",
    lost: "Roost does not answer. Trying again.",
    api: "The API, to read",
  },
  zh: {
    title: "Roost：正在准备控制台",
    heading: "正在准备控制台",
    running: "Roost 本身已在运行：设备接入和 API 均可使用。控制台仅在源码变化后构建一次。",
    looking: "正在查找已有的构建",
    installing: "正在安装依赖包",
    bundling: "正在打包",
    compressing: "正在压缩",
    ready: "已就绪",
    failed: "控制台构建失败",
    network: "无法获取依赖包。请让本机可以访问软件包仓库，然后执行下面的命令；本页会自动继续。",
    disk: "无法写入文件。请腾出磁盘空间或让目录可写，然后执行下面的命令；本页会自动继续。",
    sources: "源码无法构建。请撤销 web/ 下的本地改动，然后执行下面的命令；本页会自动继续。",
    disabled: "启动时构建已关闭（ROOST__CONSOLE__BUILD）。请执行下面的命令；本页会自动继续。",
    lost: "Roost 没有响应，正在重试。",
    api: "阅读 API 文档",
  },
} as const;

type Language = keyof typeof WORDS;

export const WAITING_SCRIPT_PATH = "/console-build.js";
export const WAITING_PROGRESS_PATH = "/console-build.json";
export const WAITING_STYLE_PATH = "/console-build.css";

/** Share of the whole that is done when a phase begins, and the share it takes. */
const SHARES = {
  looking: [0, 0.02],
  installing: [0.02, 0.48],
  bundling: [0.5, 0.4],
  compressing: [0.9, 0.1],
  ready: [1, 0],
} as const;

/** What the page shows, in the reader's language. */
export interface WaitingView {
  readonly isReady: boolean;
  readonly isFailed: boolean;
  readonly heading: string;
  readonly step: string;
  /** 0 to 1. */
  readonly progress: number;
  readonly cause: string;
  /** Empty: nothing to do but wait. */
  readonly command: string;
}

export function waitingView(
  progress: BuildProgress,
  language: Language,
): WaitingView {
  const words = WORDS[language];
  if (progress.phase === "failed") {
    return {
      isReady: false,
      isFailed: true,
      heading: words.failed,
      step: words[progress.fix],
      progress: 0,
      cause: progress.cause,
      command: "npx -y deno@2.9.6 task build",
    };
  }
  const [start, share] = SHARES[progress.phase];
  const done = "progress" in progress ? progress.progress : 0;
  return {
    isReady: progress.phase === "ready",
    isFailed: false,
    heading: words.heading,
    step: words[progress.phase],
    progress: start + share * done,
    cause: "",
    command: "",
  };
}

/** By the reader's `Accept-Language`: Chinese where it comes before English. */
export function languageOf(header: string | null): Language {
  const first = /\b(zh|en)\b/i.exec((header ?? "").slice(0, 256))?.[1];
  return first?.toLowerCase() === "zh" ? "zh" : "en";
}

export function waitingPage(
  progress: BuildProgress,
  language: Language,
): string {
  const words = WORDS[language];
  const view = waitingView(progress, language);
  return `<!doctype html><html lang="${language}"><head><meta charset="utf-8">` +
    `<meta name="viewport" content="width=device-width"><title>${words.title}</title>` +
    `<link rel="stylesheet" href="${WAITING_STYLE_PATH}">` +
    `<script src="${WAITING_SCRIPT_PATH}" defer></script></head>` +
    `<body data-lost="${words.lost}"><main><p class="name">Roost</p>` +
    `<h1 id="heading">${view.heading}</h1><p>${words.running}</p>` +
    `<progress id="progress" max="1" value="${view.progress}" aria-labelledby="step"` +
    `${view.isFailed ? " hidden" : ""}></progress>` +
    `<p id="step" role="status">${view.step}</p>` +
    `<pre id="cause" tabindex="0"${view.cause === "" ? " hidden" : ""}>${
      escape(view.cause)
    }</pre>` +
    `<pre id="command" tabindex="0"${view.command === "" ? " hidden" : ""}>${view.command}</pre>` +
    `<p><a href="/docs">${words.api}</a></p></main></body></html>`;
}

export const WAITING_STYLE = `:root{color-scheme:light dark;--page:#f6f7f9;--panel:#fff;
--text:#1b2430;--soft:#5b6675;--line:#e3e7ec;--accent:#2563eb}
@media(prefers-color-scheme:dark){:root{--page:#0f1216;--panel:#171b21;--text:#e7ebf0;
--soft:#9aa6b5;--line:#2a313a;--accent:#6ea0ff}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:16px;background:var(--page);
color:var(--text);font:14px/1.6 Inter,system-ui,"PingFang SC","Microsoft YaHei","Noto Sans SC",sans-serif}
main{width:min(100%,520px);padding:24px;background:var(--panel);border:1px solid var(--line);
border-radius:8px}
.name{margin:0 0 16px;color:var(--soft);letter-spacing:.08em;text-transform:uppercase;font-size:12px}
h1{font-size:20px;margin:0 0 8px}p{margin:8px 0}#step{color:var(--soft)}
progress{width:100%;height:6px;margin:16px 0 0;appearance:none;border:0;border-radius:3px;
background:var(--line);overflow:hidden;accent-color:var(--accent)}
progress::-webkit-progress-bar{background:var(--line)}
progress::-webkit-progress-value{background:var(--accent);transition:width .15s}
progress::-moz-progress-bar{background:var(--accent)}
pre{margin:8px 0;padding:8px 12px;border:1px solid var(--line);border-radius:8px;overflow:auto;
max-height:240px;white-space:pre-wrap;font:12px/1.5 ui-monospace,monospace}
a{color:var(--accent)}[hidden]{display:none}
`;

export const WAITING_SCRIPT = `const at = (id) => document.getElementById(id);
const show = (id, text) => { at(id).textContent = text; at(id).hidden = text === ""; };
async function poll() {
  try {
    const answer = await fetch("${WAITING_PROGRESS_PATH}", { cache: "no-store" });
    const view = await answer.json();
    if (view.isReady) return location.reload();
    at("heading").textContent = view.heading;
    at("step").textContent = view.step;
    at("progress").value = view.progress;
    at("progress").hidden = view.isFailed;
    show("cause", view.cause);
    show("command", view.command);
  } catch {
    at("step").textContent = document.body.dataset.lost;
  }
  setTimeout(poll, 700);
}
setTimeout(poll, 700);
`;

function escape(plain: string): string {
  return plain.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(
    ">",
    "&gt;",
  )
    .replaceAll('"', "&quot;");
}
