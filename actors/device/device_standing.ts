/** Where a device belongs and whether it may be used, by one look-up in the registry. */
import type { PointReader } from "../../runtime/store/relational_store.ts";
import type { RegistryDirectory } from "./device_directory.ts";

export interface DeviceStanding {
  /** Id of its project. */
  readonly project: string;
  readonly isEnabled: boolean;
}

export interface DeviceStandings extends Pick<RegistryDirectory, "projectOf"> {
  /** Undefined: there is no such device. */
  standing(product: string, device: string): DeviceStanding | undefined;
}

export function createDeviceStandings(
  reader: PointReader,
  directory: Pick<RegistryDirectory, "projectOf">,
): DeviceStandings {
  const deviceRow = reader.prepareOne(
    "select enabled from devices where product = ? and device = ?",
  );
  return {
    projectOf: (product) => directory.projectOf(product),
    standing(product, device) {
      const row = deviceRow(product, device);
      const project = row && directory.projectOf(product);
      return project === undefined ? undefined : { project, isEnabled: row!.enabled === 1 };
    },
  };
}
