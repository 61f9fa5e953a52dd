/** The REST API, as this page uses it. */

const TIMEOUT_MS = 10_000; // of one request
const PAGE_SIZE = 25;

/** An error of the server, or status 0 if it was not reached. */
class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** @typedef {{total: number, total_pages: number, page?: number}} Pagination */

export class Api {
  /** @param {string} base where the server's root is, seen from this page */
  constructor(base) {
    this.root = `${base}/api/latest`;
  }

  /** The user's record; refused once the session has ended. */
  whoAmI() {
    return json(`${this.root}/user/self`);
  }

  /** One page of experiments, newest first. */
  experiments(page = 1) {
    return this.search(`${this.root}/experiment/search`, {}, page);
  }

  /** The requests about one experiment. */
  experiment(id) {
    return new ExperimentApi(this, `${this.root}/experiment/${encodeURIComponent(id)}`);
  }

  async search(url, query, page) {
    const reply = await send(`${url}?page=${page}&page_size=${PAGE_SIZE}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(query),
    });
    const pagination = JSON.parse(reply.headers.get("X-Pagination") ?? "{}");
    return { rows: await reply.json(), pagination: { page, size: PAGE_SIZE, ...pagination } };
  }
}

class ExperimentApi {
  constructor(api, url) {
    this.api = api;
    this.url = url;
    this.liveUrl = `${url}/drift/live`;
  }

  record() {
    return json(this.url);
  }

  streams() {
    return json(`${this.url}/streams`);
  }

  /** Columns of the newest `limit` jobs of a stream, in time order. */
  series(stream, limit) {
    return json(`${this.url}/series?stream=${encodeURIComponent(stream)}&limit=${limit}`);
  }

  /** One page of jobs, newest first. */
  search(query, page) {
    return this.api.search(`${this.url}/drift/search`, query, page);
  }

  job(id) {
    return json(`${this.url}/drift/${encodeURIComponent(id)}`);
  }

  /**
   * True if a picture is stored. The series tells; a missing picture's address would answer 404,
   * which leaves an error in the browser's console.
   */
  async hasImage({ id, created_at: createdAt }, stream) {
    const before = new Date(Date.parse(createdAt) + 1).toISOString();
    const where = `stream=${encodeURIComponent(stream)}&limit=50&before=${encodeURIComponent(before)}`;
    const columns = await json(`${this.url}/series?${where}`);
    return columns.image[columns.id.indexOf(id)] === true;
  }

  imageUrl(id) {
    return `${this.url}/drift/${encodeURIComponent(id)}/image`;
  }
}

async function json(url) {
  return (await send(url)).json();
}

async function send(url, options = {}) {
  let reply;
  try {
    reply = await fetch(url, { ...options, signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch {
    throw new ApiError(0, "The server does not answer.");
  }
  if (!reply.ok) throw new ApiError(reply.status, await reason(reply));
  return reply;
}

async function reason(reply) {
  const body = await reply.json().catch(() => ({}));
  return typeof body.message === "string" ? body.message : `The server answered ${reply.status}.`;
}
