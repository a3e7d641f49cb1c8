package main

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// plotted are the ways of reading in the plot, with their colours.
var plotted = []struct {
	what   string
	colour color.Color
}{
	{credsOne, color.RGBA{R: 0x1f, G: 0x77, B: 0xb4, A: 255}},
	{credsMany, color.RGBA{R: 0x9e, G: 0xc9, B: 0xe2, A: 255}},
	{staticOne, color.RGBA{R: 0xd9, G: 0x5f, B: 0x0e, A: 255}},
	{staticMany, color.RGBA{R: 0xfd, G: 0xc0, B: 0x86, A: 255}},
}

// plot draws each way of reading as a share of the baseline's requests a second, a
// group of bars for each setting, with the 95 % intervals.
func (r *report) plot(file string) error {
	p := plot.New()
	p.Title.Text = "Reads of credentials, as a share of a plugin that does nothing"
	p.Y.Label.Text = "requests a second, of the baseline's"
	p.Y.Min, p.Y.Max = 0, 1.4
	p.Legend.Top, p.Legend.XOffs = true, -vg.Points(4)
	var settings []string
	for i, series := range plotted {
		var values plotter.Values
		var points ratios
		settings = nil
		for _, row := range r.Reading {
			if row.What != series.what {
				continue
			}
			points.XYs = append(points.XYs, plotter.XY{X: float64(len(values)) + (float64(i)-1.5)*0.2, Y: row.Ratio.Value})
			points.YErrors = append(points.YErrors, struct{ Low, High float64 }{row.Ratio.Value - row.Ratio.Low, row.Ratio.High - row.Ratio.Value})
			values = append(values, row.Ratio.Value)
			settings = append(settings, row.setting())
		}
		marks, err := plotter.NewScatter(points)
		if err != nil {
			return err
		}
		marks.Color, marks.Radius = series.colour, vg.Points(4)
		errors, err := plotter.NewYErrorBars(points)
		if err != nil {
			return err
		}
		errors.Color = series.colour
		p.Add(marks, errors)
		p.Legend.Add(series.what, marks)
	}
	goal := plotter.NewFunction(func(float64) float64 { return wantReading })
	goal.Dashes = []vg.Length{vg.Points(4), vg.Points(4)}
	p.Add(plotter.NewGrid(), goal)
	p.Legend.Add("goal", goal)
	p.NominalX(settings...)
	p.X.Tick.Label.Rotation = 0.5
	p.X.Tick.Label.XAlign = -1
	return p.Save(26*vg.Centimeter, 14*vg.Centimeter, file)
}

// ratios are points with intervals.
type ratios struct {
	plotter.XYs
	plotter.YErrors
}
