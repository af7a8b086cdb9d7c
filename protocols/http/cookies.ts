/** The two cookies of a person's browser. Both are HttpOnly and never sent by another site. */

/** The session's token. */
export const SESSION_COOKIE = "roost_session";
/** Tells a browser that somebody has logged in with from strangers; opens nothing. */
export const BROWSER_COOKIE = "roost_browser";

const SESSION_PATH = "/api/v1/session";
/** The longest that browsers keep one. */
const BROWSER_SECONDS = 400 * 86_400;
const COOKIES_CHARACTERS_MAX = 8_192;
/** Longer values are refused unread. */
const VALUE_CHARACTERS_MAX = 512;

/** The value of a cookie, if there is one that could be ours. */
export function cookieValue(headers: Headers, wanted: string): string | undefined {
  const cookies = headers.get("cookie");
  if (cookies === null || cookies.length > COOKIES_CHARACTERS_MAX) return undefined;
  for (const cookie of cookies.split(";")) {
    const [name, value] = cookie.trim().split("=", 2);
    if (name !== wanted || value === undefined || value === "") continue;
    return value.length > VALUE_CHARACTERS_MAX ? undefined : value;
  }
  return undefined;
}

/** @param seconds 0 takes it away. */
export function sessionCookie(token: string, seconds: number, isSecure: boolean): string {
  return cookie(`${SESSION_COOKIE}=${token}; Path=/; Max-Age=${seconds}`, isSecure);
}

export function browserCookie(token: string, isSecure: boolean): string {
  const age = `Max-Age=${BROWSER_SECONDS}`;
  return cookie(`${BROWSER_COOKIE}=${token}; Path=${SESSION_PATH}; ${age}`, isSecure);
}

function cookie(text: string, isSecure: boolean): string {
  return `${text}; HttpOnly; SameSite=Strict${isSecure ? "; Secure" : ""}`;
}
