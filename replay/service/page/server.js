// Talks to the service. The token lives in this module's memory and nowhere else.

let token = null;

export class Refused extends Error {
  constructor(status, line) {
    super(line);
    this.status = status;
  }
}

export function useToken(given) {
  token = given;
}

export async function ask(path, body) {
  const headers = {};
  if (token !== null) headers.Authorization = `Bearer ${token}`;
  const options = { headers, cache: "no-store", credentials: "omit" };
  if (body !== undefined) {
    headers["Content-Type"] = "application/json";
    options.method = "POST";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Refused(0, "the service does not answer; is it still running?");
  }
  const said = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, said.error ?? `status ${response.status}`);
  return said;
}
