// Pictures for a model: read from a file, made smaller, and turned into a data URL.
export const LARGEST_SIDE = 1024;
export const MOST = 6;
const KINDS = ["image/png", "image/jpeg", "image/webp", "image/gif"];

export class NotAnImage extends Error {}

/** The files of a drop or paste that are pictures. */
export function picturesOf(data: DataTransfer | null): File[] {
  return [...(data?.files ?? [])].filter((file) => KINDS.includes(file.type));
}

/** Throws NotAnImage. */
export async function dataUrl(file: Blob): Promise<string> {
  let bitmap: ImageBitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new NotAnImage();
  }
  const scale = Math.min(1, LARGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  // What was no photograph stays exact: text in it must stay readable.
  return file.type === "image/jpeg" ? canvas.toDataURL("image/jpeg", 0.85) : canvas.toDataURL("image/png");
}
