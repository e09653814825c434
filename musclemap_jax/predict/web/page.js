// The page: choose or record a video, upload it, follow the work, show the report.
"use strict";

const part = (id) => document.getElementById(id);
const maxBytes = Number(document.body.dataset.maxBytes);
const maxRecordingS = Number(document.body.dataset.maxRecordingS);

let chosen = null; // {name, content}
let job = ""; // the server's name of the video
let upload = null; // XMLHttpRequest
let events = null; // EventSource
let stream = null; // of the camera
let recorder = null;

function show(id) {
  for (const section of ["progress", "failed", "answer"]) part(section).hidden = section !== id;
  part("choose").hidden = id === "progress" || id === "answer";
}

function fail(message) {
  stop();
  part("error").textContent = message;
  show("failed");
}

// Ends what is under way, and lets the server forget it.
function stop() {
  if (upload) upload.abort();
  if (events) events.close();
  if (job) fetch(`videos/${job}`, { method: "DELETE", keepalive: true }).catch(() => {});
  upload = events = null;
  job = "";
}

function choose(name, content) {
  chosen = { name, content };
  part("chosen").textContent = `Chosen: ${name} (${(content.size / 2 ** 20).toFixed(1)} MB)`;
  part("send").disabled = false;
  part("failed").hidden = true;
  if (content.size > maxBytes) {
    part("send").disabled = true;
    fail(`The video is larger than ${(maxBytes / 2 ** 20).toFixed(0)} MB: cut it or record it again.`);
  }
}

function send() {
  stop();
  show("progress");
  progress("Uploading", 0);
  const request = new XMLHttpRequest();
  upload = request;
  const expect = part("expect") ? part("expect").value : "";
  request.open("POST", `videos?${new URLSearchParams({ name: chosen.name, expect })}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.responseType = "json";
  request.upload.onprogress = (event) => progress("Uploading", event.loaded / event.total);
  request.onload = () => {
    upload = null;
    const answer = request.response || {};
    if (request.status === 202) follow(answer.id);
    else fail(answer.error || "The server does not take the video.");
  };
  request.onerror = () => {
    upload = null;
    fail("The connection to the server was lost: try again.");
  };
  request.send(chosen.content);
}

function progress(text, fraction) {
  if (part("status").textContent !== text) part("status").textContent = text; // read out once
  if (fraction > 0) part("bar").value = fraction;
  else part("bar").removeAttribute("value");
}

// The open connection tells the server that somebody waits.
function follow(id) {
  job = id;
  events = new EventSource(`videos/${id}/events`);
  events.onmessage = (event) => {
    const status = JSON.parse(event.data);
    if (status.state === "done") finish(id);
    else if (status.state === "failed") fail(status.error);
    else if (status.state === "waiting") progress(waiting(status.ahead), 0);
    else progress("Watching the video", status.progress);
  };
  events.onerror = async () => {
    const answer = await fetch(`videos/${id}`).catch(() => null);
    if (job !== id) return;
    if (!answer) progress("The connection was lost: trying again", 0);
    else if (answer.status === 404) fail("The server no longer has this video: try again.");
  };
}

function waiting(ahead) {
  if (ahead === 0) return "Waiting";
  return `Waiting: ${ahead} ${ahead === 1 ? "video is" : "videos are"} before yours`;
}

function finish(id) {
  const report = part("report");
  if (report.dataset.job === id) return; // the connection was renewed
  report.dataset.job = id;
  report.src = `videos/${id}/report.html`;
  part("report-link").href = `videos/${id}/report.html?download`;
  part("json-link").href = `videos/${id}/muscles.json?download`;
  part("csv-link").href = `videos/${id}/muscles.csv?download`;
  show("answer");
  part("answer-title").focus();
}

// The report runs no script, so its height is measured from here.
function fit() {
  const shown = part("report").contentDocument;
  if (shown && shown.documentElement) part("report").style.height = `${shown.documentElement.offsetHeight}px`;
}

async function openCamera() {
  if (!navigator.mediaDevices || !window.MediaRecorder) {
    part("camera-note").textContent = "The browser gives no camera to this page: open it on this machine, or by https.";
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 } }, audio: false });
  } catch (error) {
    part("camera-note").textContent = `No camera: ${error.message || error.name}`;
    return;
  }
  part("camera").srcObject = stream;
  part("camera").hidden = part("record").hidden = false;
  part("open-camera").hidden = true;
  await part("camera").play();
}

function closeCamera() {
  if (stream) for (const track of stream.getTracks()) track.stop();
  stream = recorder = null;
  part("camera").srcObject = null;
  part("camera").hidden = part("record").hidden = true;
  part("open-camera").hidden = false;
  part("record").textContent = "Record";
}

function record() {
  if (recorder) {
    recorder.stop();
    return;
  }
  const type = ["video/mp4", "video/webm"].find((each) => MediaRecorder.isTypeSupported(each));
  const parts = [];
  recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
  const started = recorder;
  started.ondataavailable = (event) => parts.push(event.data);
  started.onstop = () => {
    const content = new Blob(parts, { type: started.mimeType });
    closeCamera();
    choose(started.mimeType.includes("mp4") ? "camera.mp4" : "camera.webm", content);
  };
  started.start();
  let left = maxRecordingS;
  part("record").textContent = `Stop (${left} s left)`;
  const clock = setInterval(() => {
    left -= 1;
    if (started.state === "inactive") clearInterval(clock);
    else if (left > 0) part("record").textContent = `Stop (${left} s left)`;
    else started.stop();
  }, 1000);
}

function startAgain() {
  stop();
  part("report").removeAttribute("src");
  delete part("report").dataset.job;
  show("");
  part("file").focus();
}

part("file").addEventListener("change", (event) => {
  const file = event.target.files[0];
  if (file) choose(file.name, file);
});
part("drop").addEventListener("dragover", (event) => {
  event.preventDefault();
  part("drop").classList.add("over");
});
part("drop").addEventListener("dragleave", () => part("drop").classList.remove("over"));
part("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  part("drop").classList.remove("over");
  const file = event.dataTransfer.files[0];
  if (file) choose(file.name, file);
});
part("form").addEventListener("submit", (event) => {
  event.preventDefault();
  closeCamera();
  send();
});
part("open-camera").addEventListener("click", openCamera);
part("record").addEventListener("click", record);
part("cancel").addEventListener("click", startAgain);
part("again").addEventListener("click", startAgain);
part("report").addEventListener("load", fit);
window.addEventListener("resize", fit);
window.addEventListener("pagehide", stop);
window.addEventListener("pageshow", (event) => {
  if (event.persisted) startAgain(); // the server has forgotten what the page showed
});
