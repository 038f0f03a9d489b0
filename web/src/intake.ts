// Ways for a picture to come in: chosen, dropped, pasted, photographed, or the drawn example.

import { byId } from "./dom";

/** `came` hears each picture; `problem` what went wrong on the way. */
export function intake(came: (file: Blob, name: string, more: number) => void, problem: (message: string) => void): void {
  const take = (files: Iterable<File> | null | undefined) => {
    const all = [...(files ?? [])];
    if (all.length) came(all[0], all[0].name || "pasted picture", all.length - 1);
  };
  for (const [button, id] of [["choose", "file"], ["photo", "capture"]] as const) {
    const input = byId<HTMLInputElement>(id);
    input.addEventListener("change", () => {
      take(input.files);
      input.value = ""; // the same file may be chosen again
    });
    if (button === "choose") byId(button).addEventListener("click", () => input.click());
  }
  byId("photo").addEventListener("click", () => {
    if (matchMedia("(pointer: coarse)").matches || !navigator.mediaDevices) byId("capture").click();
    else void photograph(came, problem);
  });
  byId("example").addEventListener("click", async () => {
    try {
      came(await (await fetch(new URL("example.jpg", document.baseURI))).blob(), "drawn lesion", 0);
    } catch {
      problem("The drawn lesion could not be loaded: look at the network and try again.");
    }
  });
  const drop = byId("drop");
  for (const name of ["dragenter", "dragover"]) {
    document.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer?.files.length) take(event.dataTransfer.files);
    else problem("What was dropped is no file: save the picture first, then drop the file.");
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData?.files.length) take(event.clipboardData.files);
    else problem("The clipboard holds no picture.");
  });
}

async function photograph(came: (file: Blob, name: string, more: number) => void, problem: (message: string) => void): Promise<void> {
  const dialog = byId<HTMLDialogElement>("camera");
  const video = byId<HTMLVideoElement>("video");
  let stream: MediaStream;
  try {
    const video = { width: { ideal: 1920 }, facingMode: "environment" };
    stream = await navigator.mediaDevices.getUserMedia({ video });
  } catch {
    problem("No camera could be used: allow it in the browser, or choose a picture.");
    return;
  }
  video.srcObject = stream;
  await video.play();
  dialog.showModal();
  dialog.addEventListener("close", () => stream.getTracks().forEach((track) => track.stop()), { once: true });
  byId("stop").onclick = () => dialog.close();
  byId("shoot").onclick = () => {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
    canvas.getContext("2d")!.drawImage(video, 0, 0);
    dialog.close();
    canvas.toBlob((blob) => blob && came(blob, "photo", 0), "image/png");
  };
}
