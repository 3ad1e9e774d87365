"""JupyterLab's settings in `make lab`, which finds them by JUPYTER_CONFIG_PATH."""

from dwt.pipeline.notebooks import clean_on_save

c = get_config()  # noqa: F821  # Jupyter defines it
c.ContentsManager.pre_save_hook = clean_on_save
