/** The one importer of zod: schemas of configuration, of models and of stored documents. */
export { z } from "zod";
