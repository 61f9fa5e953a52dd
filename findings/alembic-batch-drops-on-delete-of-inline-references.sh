#!/usr/bin/env bash
# Adding a column by Alembic 1.20.1's batch mode drops ON DELETE CASCADE, if the reference is written beside its column.
#
# Expected: batch mode copies a SQLite table with all that SQLAlchemy reflects of it, and foreign keys with their options belong to that.
# SQLite itself tells the action, in `PRAGMA foreign_key_list`, wherever it is written.
# Seen: SQLAlchemy 2.1.9 looks for the action in the text of CREATE TABLE, and only behind FOREIGN KEY (...). For
# `camera TEXT REFERENCES camera (id) ON DELETE CASCADE` it reflects the key with no option, although the PRAGMA says CASCADE.
# After a column is added in batch mode the table refers to the other one without any action. Nothing is raised or logged.
# Why it matters: a column with a reference that comes later, by ALTER TABLE, can be written in no other way in SQLite.
# After the migration no camera can be deleted that has pictures, or, where foreign keys are not enforced, its pictures stay for good:
# a retention that was correct stops deleting.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check alembic==1.20.1 sqlalchemy==2.1.9

"$folder/venv/bin/python" - <<'PYTHON'
import sqlite3
import sys

import alembic
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

CAMERA = "REFERENCES camera (id) ON DELETE CASCADE"
print(f"Alembic {alembic.__version__}, SQLAlchemy {sa.__version__}, SQLite {sqlite3.sqlite_version}")


def migrated(columns):
    """What is reflected, what SQLite says before and after a column is added, and what a deletion leaves."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)

    def action(connection):
        return connection.exec_driver_sql("PRAGMA foreign_key_list(picture)").mappings().one()["on_delete"]

    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE camera (id TEXT PRIMARY KEY)")
        connection.exec_driver_sql(f"CREATE TABLE picture (id INTEGER PRIMARY KEY, {columns})")
        connection.exec_driver_sql("INSERT INTO camera VALUES ('pier')")
        connection.exec_driver_sql("INSERT INTO picture (camera) VALUES ('pier')")
        (key,) = sa.inspect(connection).get_foreign_keys("picture")
        before = action(connection)
        with Operations(MigrationContext.configure(connection)).batch_alter_table("picture", recreate="always") as batch:
            batch.add_column(sa.Column("note", sa.Text))
        after = action(connection)
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = ON")
        try:
            connection.exec_driver_sql("DELETE FROM camera")
            left = connection.exec_driver_sql("SELECT count(*) FROM picture").scalar_one()
        except sa.exc.IntegrityError as error:
            left = str(error.orig)
    return key["options"], before, after, left


seen = {}
for place, columns in {
    "beside the column": f"camera TEXT {CAMERA}",
    "behind the columns": f"camera TEXT, FOREIGN KEY (camera) {CAMERA}",
}.items():
    seen[place] = migrated(columns)
    options, before, after, left = seen[place]
    print(f"{place}: reflected {options}, action {before}, after the migration {after}; pictures after deleting the camera: {left}")
expected = {
    "beside the column": ({}, "CASCADE", "NO ACTION", "FOREIGN KEY constraint failed"),
    "behind the columns": ({"ondelete": "CASCADE"}, "CASCADE", "CASCADE", 0),
}
sys.exit(0 if seen == expected else "This has changed: read the script again.")
PYTHON
