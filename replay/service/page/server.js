// Requests to the service. The token is kept in this module's memory and nowhere else.

let token = null;

export class RequestError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

export function setToken(value) {
  token = value;
}

export async function request(path, body) {
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
    throw new RequestError(0, "the service does not answer; is it still running?");
  }
  const result = await response.json().catch(() => ({}));
  if (!response.ok) throw new RequestError(response.status, result.error ?? `status ${response.status}`);
  return result;
}
