"""Write what is in the image as a CycloneDX document: ``make sbom``.

The document lists the image's Python packages and Debian's packages. It is made from the files in the image. So it
shows what is installed, and not what a lock asked for. The same image gives the same document.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from email.parser import Parser
from pathlib import Path

import click
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output import make_outputter
from cyclonedx.schema import OutputFormat, SchemaVersion
from packageurl import PackageURL

_ROOT = Path(__file__).parents[2]
_STORE = _ROOT / ".cache" / "image"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    default=Path("dist/auditsplit.cdx.json"),
    show_default=True,
    help="A file.",
)
def main(into: Path) -> None:
    """Write the SBOM of the image auditsplit:VERSION. `make image` must have built the image."""
    version = importlib.metadata.version("auditsplit")
    image = f"localhost/auditsplit:{version}"
    container = _buildah("from", "--pull-never", image)
    try:
        document = sbom(Path(_buildah("mount", container)), version, _buildah("images", "--quiet", "--no-trunc", image))
    finally:
        _buildah("rm", container)
    into.parent.mkdir(parents=True, exist_ok=True)
    into.write_text(document)
    click.echo(f"{hashlib.sha256(document.encode()).hexdigest()}  {into}")


def sbom(rootfs: Path, version: str, image_id: str) -> str:
    """Return the CycloneDX document, in JSON, of the image whose files are in the folder ``rootfs``."""
    subject = Component(type=ComponentType.CONTAINER, name="auditsplit", version=version, bom_ref="auditsplit")
    subject.properties.add(Property(name="auditsplit:image-id", value=image_id))
    parts = [*python_packages(rootfs), *debian_packages(rootfs)]
    bom = Bom(components=parts, serial_number=uuid.uuid5(uuid.NAMESPACE_OID, image_id))
    bom.metadata.component = subject
    bom.metadata.timestamp = datetime.fromtimestamp(_newest(rootfs), UTC)
    bom.register_dependency(subject, parts)
    return make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string(indent=1) + "\n"


def python_packages(rootfs: Path) -> Iterator[Component]:
    """Yield the Python packages that are installed beside the function."""
    for path in sorted(rootfs.glob("venv/lib/python3.*/site-packages/*.dist-info/METADATA")):
        head = Parser().parsestr(path.read_text(), headersonly=True)
        name = re.sub(r"[-_.]+", "-", head["Name"]).lower()
        url = PackageURL("pypi", None, name, head["Version"])
        yield Component(type=ComponentType.LIBRARY, name=name, version=head["Version"], purl=url, bom_ref=str(url))


def debian_packages(rootfs: Path) -> Iterator[Component]:
    """Yield the Debian packages that dpkg lists as installed; none on a base that is not Debian's."""
    status = rootfs / "var" / "lib" / "dpkg" / "status"
    for paragraph in status.read_text().split("\n\n") if status.exists() else ():
        head = Parser().parsestr(paragraph, headersonly=True)
        if head.get("Status") == "install ok installed":
            url = PackageURL("deb", "debian", head["Package"], head["Version"], {"arch": head["Architecture"]})
            yield Component(
                type=ComponentType.LIBRARY, name=head["Package"], version=head["Version"], purl=url, bom_ref=str(url)
            )


def _newest(rootfs: Path) -> float:
    return (rootfs / "venv" / "pyvenv.cfg").stat().st_mtime


def _buildah(*arguments: str) -> str:
    store = _STORE.resolve()
    command = ["buildah", "--root", str(store / "storage"), "--runroot", str(store / "run"), *arguments]
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"error: {error}\nRun 'make image' as root first. It requires buildah.")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
