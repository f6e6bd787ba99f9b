"""A figure that a notebook shows where it is drawn without pyplot, which would tell it how."""

import io

from matplotlib.figure import Figure


class InlineFigure(Figure):
    """A matplotlib figure that has a picture of itself for whoever asks as IPython does."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png")
        return picture.getvalue()
