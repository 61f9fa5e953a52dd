/** Jobs and pictures that a node gave up because it had no space for them. Nothing here touches the page. */

import { counted, isNumber, parseTime, utcTime } from "./format.js";

/** The number of jobs that are missing before the one with this parameter; 0 if it tells none. */
export function missingJobs(shed) {
  return isNumber(shed?.jobs) && shed.jobs > 0 ? shed.jobs : 0;
}

/**
 * A sentence for the chart; "" if nothing is missing.
 * @param {import("./verdict.js").Point[]} points
 */
export function missingNote(points) {
  const jobs = points.reduce((sum, point) => sum + point.missing, 0);
  const pictures = points.filter((point) => point.pictureShed).length;
  const parts = [jobs > 0 && counted(jobs, "job"), pictures > 0 && counted(pictures, "picture")].filter(Boolean);
  if (parts.length === 0) return "";
  const verb = jobs + pictures === 1 ? "was" : "were";
  return `${parts.join(" and ")} ${verb} not kept: the node's disk or its storage.max_bytes was full.`;
}

/** Sentences for the panel of one job. @returns {string[]} */
export function missingSentences({ shed, picture_shed: pictureShed }) {
  const jobs = missingJobs(shed);
  const since = parseTime(shed?.since);
  const when = since ? ` since ${utcTime(since)}` : "";
  return [
    jobs > 0 && `Before this one ${counted(jobs, "job")} of the stream ${jobs === 1 ? "is" : "are"} missing${when}:`
      + " the node's disk or its storage.max_bytes was full.",
    pictureShed === true && "Its picture was not kept: the node's disk or its storage.max_bytes was full.",
  ].filter(Boolean);
}
