// One picture in, one answer out. Nothing is stored: neither the picture, nor the key, nor the answer.

const at = (id) => document.getElementById(id);
const MOST_IN_MODEL_ORDER = 12;
const DECISIONS = {
  abstain: ["The model is undecided", "No label is clearly positive. A person has to read this ECG."],
  reject: ["This picture was not read", "It cannot be read as an ECG, so no label is given."],
};
const HINTS = {
  401: "Enter an API key above and choose the picture again.",
  403: "The API key is not for this; ask whoever runs the service for another.",
  413: "Send the picture at a lower resolution, or one page only.",
  415: "Export it as PNG, JPEG, TIFF or PDF and try again.",
};
let asking = null;

function element(name, text, className) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function headers() {
  const key = at("key").value.trim();
  return { Accept: "application/json", ...(key && { "X-API-Key": key }) };
}

async function ask(file) {
  asking?.abort();
  const mine = (asking = new AbortController());
  at("problem").hidden = true;
  at("result").hidden = true;
  document.body.classList.add("busy");
  at("status").textContent = `Reading ${file.name || "the picture"}…`;
  try {
    const response = await fetch("v1/explain", {
      method: "POST",
      headers: { ...headers(), "Content-Type": "application/octet-stream" },
      body: file,
      signal: mine.signal,
    });
    if (!response.ok) throw await problemOf(response);
    show(await response.json());
  } catch (error) {
    if (mine.signal.aborted) return;
    complain(error);
  }
  at("status").textContent = "";
  document.body.classList.remove("busy");
}

async function problemOf(response) {
  const problem = await response.json().catch(() => ({}));
  const retry = response.headers.get("Retry-After");
  return { ...problem, status: response.status, hint: HINTS[response.status] ?? (retry && `Try again in ${retry} s.`) };
}

function complain(problem) {
  const box = at("problem");
  const answered = "status" in problem;
  box.replaceChildren(element("strong", answered ? sentence(problem.title ?? "The service refused") : "Nobody answers"));
  const said = answered ? problem.detail ?? `status ${problem.status}` : "The service cannot be reached; is it running?";
  box.append(element("p", sentence(said)));
  if (problem.got !== undefined) box.append(element("p", `Got: ${problem.got}. Allowed: ${problem.allowed ?? "see the API"}.`));
  if (problem.hint) box.append(element("p", problem.hint));
  if (problem.request_id) box.append(element("p", `Request ${problem.request_id}`, "note"));
  box.hidden = false;
  if (problem.status === 401 || problem.status === 403) {
    at("access").open = true;
    at("key").focus();
  }
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function show({ answer, page, films }) {
  showDecision(answer);
  const films_of = Object.fromEntries(films.map((film) => [film.code, `data:${film.media_type};base64,${film.data}`]));
  at("picture").src = `data:${page.media_type};base64,${page.data}`;
  at("picture").width = page.width_px;
  at("picture").height = page.height_px;
  showLabels(answer, films_of);
  showQuality(answer.quality);
  showModel(answer);
  at("json").textContent = JSON.stringify(answer, null, 2);
  at("result").hidden = false;
  at("decision").focus();
}

function showDecision(answer) {
  const found = answer.labels.filter((label) => label.positive).map((label) => label.name);
  const named = found.length ? `The model finds: ${found.join(", ")}` : "The model finds none of its classes";
  const [title, meaning] = DECISIONS[answer.decision] ?? [named, "Each label stands for itself; several may hold at once."];
  const weak = answer.decision === "abstain" && found.length ? ` Above its threshold, though not clearly: ${found.join(", ")}.` : "";
  at("verdict").className = answer.decision;
  at("decision").textContent = title;
  at("meaning").textContent = meaning + weak;
  at("notes").textContent = [...answer.notes, answer.disclaimer].join(" ");
}

function showLabels(answer, films) {
  at("labels-section").hidden = at("legend").hidden = answer.labels.length === 0;
  const labels = [...answer.labels];
  const margin = (label) => label.probability - label.threshold;
  if (labels.length > MOST_IN_MODEL_ORDER) labels.sort((one, other) => margin(other) - margin(one));
  const none = row({ code: "", name: "The page alone" });
  at("labels").replaceChildren(...labels.map((label) => row(label, films[label.code])), none);
  const shown = labels.filter((label) => films[label.code]).sort((one, other) => margin(other) - margin(one))[0];
  select(shown, films);
  at("labels").onchange = (event) =>
    select(labels.find((label) => label.code === event.target.value), films);
}

function row(label, film) {
  const made = element("label", undefined, label.positive ? "label positive" : "label");
  const choice = element("input");
  Object.assign(choice, { type: "radio", name: "evidence", value: label.code, disabled: Boolean(label.code) && !film });
  made.append(choice, element("span", label.code ? `${label.name} (${label.code})` : label.name, "name"));
  if (!label.code) return made;
  made.append(element("span", percent(label.probability), "number"));
  const track = element("span", undefined, "track");
  const fill = element("span", undefined, "fill");
  const mark = element("span", undefined, "mark");
  fill.style.display = "block";
  fill.style.width = percent(label.probability, "");
  mark.style.left = percent(label.threshold, "");
  track.setAttribute("aria-hidden", "true");
  track.append(fill, mark);
  made.append(track, element("span", `${label.positive ? "positive" : "negative"}, threshold ${percent(label.threshold)}`, "said"));
  return made;
}

function percent(share, space = " ") {
  return `${(100 * share).toFixed(space ? 0 : 2)}${space}%`;
}

function select(label, films) {
  const film = at("film");
  film.hidden = !label;
  if (label) film.src = films[label.code];
  for (const choice of at("labels").querySelectorAll("input")) choice.checked = choice.value === (label?.code ?? "");
  const seen = label ? `Evidence for ${label.name}` : "Without evidence";
  at("caption").textContent = seen;
  at("picture").alt = `The ECG page, upright and to scale. ${seen}.`;
}

function showQuality(quality) {
  const list = at("findings");
  list.className = quality.findings.length ? "" : "none";
  const words = { reject: "Not readable", warning: "Look" };
  const found = quality.findings.map((one) => element("li", `${words[one.severity] ?? one.severity}: ${one.message}`));
  list.replaceChildren(...(found.length ? found : [element("li", "Nothing to object to.")]));
  const scale = quality.px_per_mm === null ? "no scale found" : `${quality.px_per_mm.toFixed(1)} pixels per millimetre`;
  const assumed = quality.scale_assumed ? " (assumed, no grid was measured)" : "";
  const turned = quality.rotation_deg.toFixed(1);
  const undone = Number(turned) === 0 ? "It stood straight." : `Turned by ${turned}°, which was undone.`;
  at("measures").textContent = `Scale: ${scale}${assumed}. ${undone}`;
}

function showModel({ model, timing_ms, request_id }) {
  const rows = [
    ["Model", model.name],
    ["Version", model.version === null ? "of a folder, not of a registry" : `${model.version}${model.alias ? ` (${model.alias})` : ""}`],
    ["Bundle", model.bundle_digest.slice(0, 16)],
    ["Training run", model.run_id],
    ["Code", model.git_sha],
    ["Data", model.data_digest?.slice(0, 16)],
    ["Time", `${timing_ms.total.toFixed(0)} ms`],
    ["Request", request_id],
  ].filter(([, value]) => value);
  at("model").replaceChildren(...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]));
}

async function askWhoAnswers() {
  const said = at("ready");
  try {
    const state = await (await fetch("ready")).json();
    const model = state.model;
    if (state.access === "API keys") at("access").open = true;
    said.textContent = state.ready
      ? `${model.name} ${model.version ? `version ${model.version}` : `bundle ${model.bundle_digest.slice(0, 12)}`} answers.`
      : "No model is ready yet; try again in a moment.";
    if (model?.simulated) said.textContent += " It was trained on simulated records: its answers have no medical meaning.";
  } catch {
    said.textContent = "The service does not answer.";
  }
}

for (const id of ["file", "camera"]) {
  at(id).addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = ""; // so that the same file can be chosen again
    if (file) ask(file);
  });
}
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    const file = kind === "drop" && event.dataTransfer.files[0];
    if (file) ask(file);
  });
}
document.addEventListener("paste", (event) => {
  const [file] = event.clipboardData.files;
  if (file) ask(file);
});
askWhoAnswers();
